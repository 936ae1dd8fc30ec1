import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CELLS } from './cells.ts';
import { expectationOf, presentOutcomeOf } from './expectation.ts';
import { Laboratory } from './laboratory.ts';
import { Pair, withCell } from './meeting.ts';
import { cellsOf, optionsOf } from './options.ts';
import type { CellResult, Results } from './results.ts';
import { modelOf, ROUTER_TYPES } from './router-types.ts';

const options = optionsOf(process.env);
const cells: CellResult[] = [];
const figures: Record<string, unknown> = {};
let laboratory: Laboratory;

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed);
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
  const { seed } = options;
  const results: Results = { seed, at: new Date().toISOString(), cells, figures };
  await mkdir(dirname(options.results), { recursive: true });
  await writeFile(options.results, `${JSON.stringify(results, null, 2)}\n`);
});

describe.runIf(options.only === undefined)('routers', () => {
  it.each(ROUTER_TYPES)('%s is what it is called', async (type) => {
    expect(await laboratory.prove(type)).toEqual(modelOf(type).claim);
  });

  it('that are not what they are called are found out', async () => {
    const site = await laboratory.site('eim-adf');
    try {
      expect(await laboratory.behaviourOf(site)).not.toEqual(modelOf('eim-apdf').claim);
    } finally {
      await laboratory.remove(site);
    }
  });
});

describe.runIf(options.only === undefined)('networks that two people share', () => {
  const shared = CELLS.filter(({ together }) => together !== 'apart');
  it.each(shared.map((cell) => [cell.name, cell] as const))(
    '%s is what it is called',
    async (_name, cell) => {
      await withCell(laboratory, cell, async ([one, other]) => {
        expect(await laboratory.neighbourhoodOf(one, other)).toEqual({
          inside: cell.together === 'one-lan',
          hairpin: cell.hairpin,
        });
      });
    },
  );
});

describe('two people find each other', () => {
  it.each(
    cellsOf(options).map((cell) => {
      const expectation = expectationOf(cell);
      const present = presentOutcomeOf(expectation);
      const promised =
        present === expectation.outcome ? present : `${present} (${expectation.outcome} not yet)`;
      return [cell.name, promised, expectation.reason, { cell, expectation, present }] as const;
    }),
  )('%s: %s: %s', async (_name, _promised, _reason, { cell, expectation, present }) => {
    await withCell(laboratory, cell, async (seats) => {
      const pair = new Pair(laboratory, seats);
      try {
        const meeting = await pair.meet(present, expectation.needs.length > 0);
        cells.push({ cell, expectation, present, meeting });
        expect(meeting, JSON.stringify(meeting)).toMatchObject({ outcome: present });
        if (present !== 'failed') expect(meeting.agree, JSON.stringify(meeting)).toBe(true);
      } finally {
        await pair.leave();
      }
    });
  });
});
