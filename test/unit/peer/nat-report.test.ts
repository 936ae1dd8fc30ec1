import { expect, it } from 'vitest';
import type { NatReport } from '../../../src/path/index.ts';
import { guessTargetOf, natReportToWire } from '../../../src/peer/nat-report.ts';
import { CandidateKind, type Endpoint } from '../../../src/rpc/generated/chatty/v1/common.ts';
import { addressToWire } from '../../../src/rpc/wire-address.ts';

const SEEN = { host: '203.0.113.7', port: 6000 };
const VICTIM = { host: '192.0.2.66', port: 6000 };
const KIND = CandidateKind.CANDIDATE_KIND_SERVER_REFLEXIVE;

function endpoint(report: NatReport | undefined, kind: CandidateKind = KIND): Endpoint {
  return {
    ...{ ufrag: 'friendfrag', password: 'p'.repeat(24), relayRefused: false },
    candidates: [{ kind, address: addressToWire(SEEN) }],
    ...(report === undefined ? {} : { nat: natReportToWire(report) }),
  };
}

it('a report is what the friend said, at the address where servers see it', () => {
  const lastObserved = { ...SEEN, port: 6017 };
  const nat: NatReport = { mapping: 'sequential', step: 2, lastObserved, only443: true };
  expect(guessTargetOf(endpoint(nat))).toEqual({ nat, reflexive: SEEN });
});

it.each<[string, Endpoint]>([
  ['nothing is said', endpoint(undefined)],
  [
    'it names an address where servers do not see the friend',
    endpoint({ mapping: 'random', step: 0, lastObserved: VICTIM }),
  ],
  [
    'only the friend says that it has the address',
    endpoint({ mapping: 'random', step: 0, lastObserved: SEEN }, CandidateKind.CANDIDATE_KIND_HOST),
  ],
  [
    'ports in sequence do not move',
    endpoint({ mapping: 'sequential', step: 0, lastObserved: SEEN }),
  ],
  [
    'ports in sequence are far apart',
    endpoint({ mapping: 'sequential', step: 5000, lastObserved: SEEN }),
  ],
])('nothing is guessed where %s', (_why, told) => {
  expect(guessTargetOf(told)).toBeUndefined();
});
