import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { cellOf } from './cells.ts';
import { Laboratory } from './laboratory.ts';
import { Pair, withCell } from './meeting.ts';
import { optionsOf } from './options.ts';
import { writePart } from './parts.ts';
import type { Move } from './results.ts';
import { Transfer } from './transfer.ts';

const options = optionsOf(process.env);
/** 1 Mbit/s. */
const RELAY_BYTES_PER_SECOND = '122KiB';
const BEFORE_MS = 2_000;
/** A relay lets through a second's worth at once: after that, what it does for good. */
const BURST_MS = 3_000;
const AFTER_MS = 5_000;
const RUNS = 5;
/** For as long as it may take until a path is given up for lost, and on a busy machine. */
const RECOVERY_MS = 40_000;

const moves: Move[] = [];
let laboratory: Laboratory | undefined;

beforeAll(async () => {
  if (!options.bench) return;
  const serverArgs = ['--relay-pair-bytes-per-second', RELAY_BYTES_PER_SECOND];
  laboratory = await Laboratory.start(options.seed, { serverArgs });
});

afterAll(async () => {
  await laboratory?.[Symbol.asyncDispose]();
  if (options.bench) await writePart(options.results, 'moves', moves);
});

describe.runIf(options.bench)('a transfer from one to another on a LAN', () => {
  it('goes on over a relay of 1 Mbit/s when nothing passes on the LAN any more', async () => {
    if (laboratory === undefined) throw new Error('there is no laboratory');
    const place = laboratory;
    await withCell(place, cellOf('one LAN'), async (seats) => {
      const [{ site }] = seats;
      for (let run = 0; run < RUNS; run++) {
        await site.isolate(false);
        const pair = new Pair(place, seats);
        const met = await pair.meet('direct', false);
        const transfer = new Transfer(pair.a, pair.b);
        try {
          expect(met.outcome, pair.story).toBe('direct');
          const startedAt = clock.now();
          await clock.sleep(BEFORE_MS);
          const lanBytesPerSecond = transfer.bytesPerSecond(startedAt);
          const cutAt = clock.now();
          await site.isolate(true);
          expect(await pair.b.until(() => isRelayed(pair), RECOVERY_MS)).toBe(true);
          await clock.sleep(BURST_MS);
          const steadyAt = clock.now();
          await clock.sleep(AFTER_MS);
          moves.push({
            ...{ lanBytesPerSecond, relayBytesPerSecond: transfer.bytesPerSecond(steadyAt) },
            stallMs: transfer.longestStallMs(cutAt),
          });
          expect(transfer.isWhole).toBe(true);
        } finally {
          await transfer.stop();
          await pair.leave();
        }
      }
    });
  }, 300_000);
});

function isRelayed({ b }: Pair): boolean {
  return b.path?.['path'] === 'relay';
}
