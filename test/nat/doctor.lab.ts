import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apart } from './expectation.ts';
import { Laboratory } from './laboratory.ts';
import { optionsOf } from './options.ts';
import { type Behaviour, modelOf, ROUTER_TYPES, type RouterType } from './router-types.ts';
import type { Site } from './site.ts';

const options = optionsOf(process.env);
/** One of each kind of answer, and those that are the hardest to tell. */
const REPRESENTATIVE: readonly RouterType[] = ['eim-adf', 'cgn', 'symmetric-random', 'no-udp'];
/** Behind what a friend is whom the diagnosis speaks of. */
const FRIENDS = [
  ['ordinary', 'masquerade'],
  ['sequential', 'symmetric-sequential'],
  ['random', 'symmetric-random'],
  ['udp-443', 'udp-443'],
  ['no-udp', 'no-udp'],
] as const;

let laboratory: Laboratory;

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed);
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
});

describe('chatty doctor says what the router was proven to be', () => {
  it.each(options.full ? ROUTER_TYPES : REPRESENTATIVE)('%s', async (type) => {
    const site = await laboratory.site(type);
    try {
      const diagnosis = await laboratory.diagnosisOf(site);
      const { claim } = modelOf(type);
      expect(diagnosis).toMatchObject(expected(claim, site));
      for (const [kind, friend] of FRIENDS) {
        const { outcome } = apart(claim, modelOf(friend).claim);
        expect(diagnosis.reach[kind].startsWith('direct'), kind).toBe(outcome === 'direct');
      }
    } finally {
      await laboratory.remove(site);
    }
  });
});

const DEPENDENCE = {
  none: 'endpoint-independent',
  'endpoint-independent': 'endpoint-independent',
  address: 'address-dependent',
  'address-and-port': 'address-and-port-dependent',
} as const;

/** As far as one computer can tell. */
function expected({ udp, ipv4, ipv6 }: Behaviour, site: Site): object {
  const reach = {
    udp: { all: 'open', 443: '443-only', none: 'blocked' }[udp],
    tunnel: udp === 'none' ? true : null,
    ipv6: ipv6 === 'none' ? 'none' : 'works',
  };
  if (ipv4 === undefined) return reach;
  const { mapping, ports, hairpin, filtering } = ipv4;
  const isIndependent = mapping === 'endpoint-independent';
  const words = { 'endpoint-independent': 'endpoint-independent', none: 'none' };
  return {
    ...reach,
    ipv4: {
      mapping: mapping in words ? mapping : ports,
      dependence: DEPENDENCE[mapping],
      portPreserving: ports === 'preserved',
      publicAddress: site.address,
      // What the router sends back shows whom it lets in.
      hairpinning: isIndependent ? hairpin : null,
      filtering:
        !isIndependent || !hairpin
          ? 'unknown'
          : filtering === 'endpoint-independent'
            ? filtering
            : 'dependent',
    },
  };
}
