import type { RelayOffer, ServerToPeer } from '../rpc/generated/chatty/v1/rendezvous.ts';
import type { Match } from './matching.ts';
import type { RecordKey } from './record.ts';
import { endpointToWire } from './record-codec.ts';
import { sessionToWire } from './session-order.ts';

/** Who the friend of a match is. */
export function friendOf({ friend, friendKey, friendSession }: Match): RecordKey {
  return { name: friend, key: friendKey, session: friendSession };
}

/** What a peer is told of a friend. */
export function matchFrame(
  match: Match,
  relays: RelayOffer[],
  firstFlight: readonly Buffer[],
): ServerToPeer {
  return {
    kind: {
      $case: 'match',
      value: {
        friend: match.friend,
        friendKey: Buffer.from(match.friendKey, 'hex'),
        friendSession: sessionToWire(match.friendSession),
        friendEndpoint: endpointToWire(match.friendEndpoint),
        friendWasWaiting: match.friendWasWaiting,
        ownSession: sessionToWire(match.ownSession),
        relays,
        friendFirstFlight: [...firstFlight],
      },
    },
  };
}
