import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { cellOf } from './cells.ts';
import { Laboratory } from './laboratory.ts';
import { Pair, withCell } from './meeting.ts';
import { optionsOf } from './options.ts';
import { Transfer } from './transfer.ts';

const options = optionsOf(process.env);
/** 1 Mbit/s. */
const RELAY_BYTES_PER_SECOND = '122KiB';
const BEFORE_MS = 2_000;
const AFTER_MS = 20_000;

let laboratory: Laboratory;

beforeAll(async () => {
  const serverArgs = ['--relay-pair-bytes-per-second', RELAY_BYTES_PER_SECOND];
  laboratory = await Laboratory.start(options.seed, { serverArgs });
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
});

describe.runIf(options.bench)('a transfer on a LAN', () => {
  it('goes on over a relay of 1 Mbit/s when the LAN is cut in silence', async () => {
    await withCell(laboratory, cellOf('one LAN'), async (seats) => {
      const pair = new Pair(laboratory, seats);
      try {
        expect((await pair.meet('direct', false)).outcome, pair.story).toBe('direct');
        const transfer = new Transfer(pair.a, pair.b);
        const startedAt = clock.now();
        await clock.sleep(BEFORE_MS);
        const before = transfer.bytesPerSecond(startedAt);
        const cutAt = clock.now();
        await seats[0].site.isolate(true);
        await clock.sleep(AFTER_MS);
        const found = {
          before,
          after: transfer.bytesPerSecond(cutAt + AFTER_MS / 2),
          stallMs: transfer.longestStallMs(cutAt),
        };
        await transfer.stop();
        console.log(
          found,
          cutAt,
          pair.people
            .map((p) =>
              p.events
                .filter(({ event }) => !['message', 'sent', 'delivered'].includes(event))
                .map((e) => JSON.stringify({ ...e, cameAt: e.cameAt - cutAt }))
                .join('\n'),
            )
            .join('\n--\n'),
        );
      } finally {
        await pair.leave();
      }
    });
  });
});
