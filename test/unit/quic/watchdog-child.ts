/** A process with a watchdog, that does as its first argument says. */
import { startStallWatchdog } from '../../../src/quic/index.ts';

const [, , task = '', maxRss] = process.argv;
const stop = startStallWatchdog({
  stallMs: 300,
  ...(maxRss === undefined ? {} : { maxRssBytes: Number(maxRss) }),
});

function spin(forMs: number): void {
  const end = performance.now() + forMs;
  while (performance.now() < end);
}

switch (task) {
  case 'spin':
    // The watch is on when the worker has been answered once.
    setTimeout(() => spin(60_000), 200);
    break;
  case 'stop-then-spin':
    stop();
    spin(1000);
    break;
  case 'work':
    process.stdout.write('working\n');
    process.stdin.once('data', () => process.exit(5));
    break;
  case 'idle':
    break;
}
