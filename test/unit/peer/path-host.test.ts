import { expect, it } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import type { NatReport } from '../../../src/path/index.ts';
import type { Match } from '../../../src/peer/match.ts';
import { natReportToWire } from '../../../src/peer/nat-report.ts';
import { PathHost } from '../../../src/peer/path-host.ts';
import type { QuicEndpoint } from '../../../src/quic/index.ts';
import { CandidateKind, type Endpoint } from '../../../src/rpc/generated/chatty/v1/common.ts';
import { addressToWire } from '../../../src/rpc/wire-address.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const SEEN = { host: '203.0.113.7', port: 6000 };
const RANDOM: NatReport = { mapping: 'random', step: 0, lastObserved: { ...SEEN, port: 6017 } };

/** Where the friend is; what its NAT does, if it has said. */
function endpointOf(report?: NatReport): Endpoint {
  const kind = CandidateKind.CANDIDATE_KIND_SERVER_REFLEXIVE;
  return {
    ...{ ufrag: 'friendfrag', password: 'p'.repeat(24), relayRefused: false },
    candidates: [{ kind, address: addressToWire(SEEN) }],
    ...(report === undefined ? {} : { nat: natReportToWire(report) }),
  };
}

it('what stands in the way is told by what is known of the friend’s network by then', () => {
  const endpoint: Partial<QuicEndpoint> = {
    addresses: [{ host: '0.0.0.0', port: 5000 }],
    send: () => true,
  };
  const host = new PathHost({
    endpoint: endpoint as QuicEndpoint,
    clock: new VirtualClock(),
    random: seededRandom(1),
    ownFingerprint: new Uint8Array(32),
  });
  const match: Match = {
    session: { startedAt: 1n, nonce: Buffer.alloc(16) },
    key: new Uint8Array(32).fill(1),
    endpoint: endpointOf(),
    friendWasWaiting: true,
  };
  const events = { ready: () => 0, opened: () => 0, selected: () => 0, lost: () => 0 };
  const path = host.punch(match, { onLoopback: () => false, events });
  expect(host.obstacleTo(match, false).whose).toBe('unknown');
  host.merge(path, endpointOf(RANDOM));
  expect(host.obstacleTo(match, false).whose).toBe('friend');
  host.close();
});
