import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cellOf } from './cells.ts';
import { expectationOf, LATE, obstaclesOf } from './expectation.ts';
import { Laboratory } from './laboratory.ts';
import { type Meeting, Pair, withCell } from './meeting.ts';
import { cellsOf, optionsOf } from './options.ts';
import { writePart } from './parts.ts';
import type { CellResult } from './results.ts';

const options = optionsOf(process.env);
const LATE_MS = 300;
const cells: CellResult[] = [];
let laboratory: Laboratory;

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed);
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
  await writePart(options.results, 'cells', cells);
});

describe('two people find each other', () => {
  it.each(
    cellsOf(options).map((cell) => {
      const expectation = expectationOf(cell);
      const { outcome, reason } = expectation;
      return [cell.name, outcome, reason, { cell, expectation }] as const;
    }),
  )('%s: %s: %s', async (_name, wanted, _reason, { cell, expectation }) => {
    const meetings: Meeting[] = [];
    cells.push({ cell, expectation, meetings });
    await withCell(laboratory, cell, async (seats) => {
      while (meetings.length < options.runs) {
        const pair = new Pair(laboratory, seats);
        try {
          meetings.push(await pair.meet(wanted, expectation.needs.length > 0));
        } finally {
          await pair.leave();
        }
      }
    });
    for (const meeting of meetings) {
      expect(meeting, JSON.stringify(meeting)).toMatchObject({ outcome: wanted });
      expect(meeting.agree, JSON.stringify(meeting)).toBe(true);
      if (wanted === 'relayed') expect(meeting.obstacles).toEqual(obstaclesOf(expectation));
    }
  });
});

describe.runIf(options.only === undefined)('somebody who is late', () => {
  it.each(['masquerade × masquerade', 'masquerade × cgn'])(
    `%s: is reached although the own router has answered for them`,
    async (name) => {
      await withCell(laboratory, cellOf(name), async (seats) => {
        const pair = new Pair(laboratory, seats);
        try {
          const meeting = await pair.meet(LATE.outcome, false, LATE_MS);
          expect(meeting, JSON.stringify(meeting)).toMatchObject({ outcome: LATE.outcome });
        } finally {
          await pair.leave();
        }
      });
    },
  );
});
