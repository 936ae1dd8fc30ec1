import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Laboratory } from './laboratory.ts';
import { Pair } from './meeting.ts';
import { optionsOf } from './options.ts';
import type { GatewayProtocols, Site } from './site.ts';

const options = optionsOf(process.env);
let laboratory: Laboratory;

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed);
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
});

describe('two people behind routers with random ports, one of which gives out ports', () => {
  const direct = [
    ['by PCP, are direct', 'pcp', 'direct', []],
    ['by UPnP, are direct', 'upnp', 'direct', []],
  ] as const;
  // Until it is said what stands in the way takes 12 s.
  const relayed = [
    ['are not, where it is not asked', 'pcp', 'relayed', ['--no-port-mapping']],
  ] as const;
  it.each([...direct, ...(options.full ? relayed : [])])(
    '%s',
    async (_name, gateway, outcome, args) => {
      await withSites(gateway, async (giving, other) => {
        const { portMapping } = await laboratory.diagnosisOf(giving);
        expect(portMapping).toEqual({ by: gateway, usable: true });
        // Whoever only looks gives back what they were given.
        expect(await giving.mappedPorts()).toBe(0);
        const seats = [
          { site: giving, computer: 0 },
          { site: other, computer: 0 },
        ] as const;
        const pair = new Pair(laboratory, seats, args);
        try {
          const meeting = await pair.meet(outcome, false);
          const story = pair.people.map(({ events }) => JSON.stringify(events)).join('\n');
          expect(meeting, story).toMatchObject({ outcome, agree: true });
          expect(await giving.mappedPorts()).toBe(outcome === 'direct' ? 1 : 0);
          if (outcome === 'direct') expect(pair.b.path).toMatchObject({ kind: 'mapped' });
        } finally {
          await pair.leave();
        }
        // And so does whoever leaves.
        expect(await giving.mappedPorts()).toBe(0);
      });
    },
  );
});

async function withSites(
  gateway: GatewayProtocols,
  use: (giving: Site, other: Site) => Promise<void>,
): Promise<void> {
  const giving = await laboratory.site('symmetric-random', { gateway });
  try {
    const other = await laboratory.site('symmetric-random');
    try {
      await use(giving, other);
    } finally {
      await laboratory.remove(other);
    }
  } finally {
    await laboratory.remove(giving);
  }
}
