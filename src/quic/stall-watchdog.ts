import { Worker } from 'node:worker_threads';

export interface StallWatchdogOptions {
  /** How long the event loop may make no progress (default 10,000). */
  readonly stallMs?: number;
  /** How much memory the process may hold (default: no bound). */
  readonly maxRssBytes?: number;
  /** How often it is looked at (default a twentieth of `stallMs`). */
  readonly tickMs?: number;
}

export type Stop = () => void;

/** Looks at the memory in a row that find it past the bound, so that a short peak ends nothing. */
const MEMORY_TICKS = 3;

/**
 * What the worker runs; as text, since it has to work from source and from what is built alike. It
 * counts its own ticks instead of reading a clock: while the process is stopped, or the computer
 * sleeps, the worker does not tick either, so that this is no stall. The last words are written
 * before the signal, which no handler of a process that is stuck could answer.
 */
const WATCH = `
const { writeSync } = require('node:fs');
const { parentPort, workerData } = require('node:worker_threads');
const { beat, tickMs, stallMs, maxRssBytes, memoryTicks } = workerData;
let seen = -1, silent = 0, large = 0;
const end = (event, msg) => {
  try { writeSync(2, JSON.stringify({ level: 'fatal', event, msg }) + '\\n'); } catch {}
  process.kill(process.pid, 'SIGKILL');
};
setInterval(() => {
  const now = Atomics.load(beat, 0);
  silent = now === seen ? silent + 1 : 0;
  if (now !== seen) parentPort.postMessage(0);
  seen = now;
  if (silent * tickMs >= stallMs) {
    end('stalled', 'the event loop made no progress for ' + stallMs + ' ms; ending the process');
  }
  const rss = process.memoryUsage.rss();
  large = rss > maxRssBytes ? large + 1 : 0;
  if (large >= memoryTicks) {
    end('memory', 'the process holds ' + rss + ' bytes, over its bound of ' + maxRssBytes + '; ending it');
  }
}, tickMs);
`;

/**
 * Ends this process, with a JSON line on stderr and SIGKILL, when its event loop stands still or its
 * memory grows past a bound. The native QUIC library is known to be able to do both when attacked,
 * and nothing in the same thread could then still act: a supervisor starts the process anew.
 *
 * Does not keep the process alive. The function returned ends the watch.
 */
export function startStallWatchdog(options: StallWatchdogOptions = {}): Stop {
  const stallMs = options.stallMs ?? 10_000;
  const beat = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(WATCH, {
    eval: true,
    execArgv: [],
    // Far more than so small a program needs.
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    workerData: {
      beat,
      stallMs,
      tickMs: options.tickMs ?? Math.max(1, stallMs / 20),
      maxRssBytes: options.maxRssBytes ?? Infinity,
      memoryTicks: MEMORY_TICKS,
    },
  });
  // The worker asks, and asks again only when it was answered.
  worker.on('message', () => Atomics.add(beat, 0, 1));
  worker.on('error', () => undefined);
  worker.unref();
  return () => {
    void worker.terminate();
  };
}
