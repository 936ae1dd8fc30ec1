import { MAX_CANDIDATES, unique } from '../path/candidate.ts';
import { discloseCandidates } from '../path/index.ts';
import type { NameHolders } from './name-holders.ts';
import type { PeerTable } from './peer-table.ts';
import type { Endpoint, PeerRecord, RecordWish, Wish } from './record.ts';
import { chooseRelays } from './relay-choice.ts';

/** What a peer is told about a friend who has named it, as it has named the friend. */
export interface Match {
  readonly friend: string;
  readonly friendKey: string;
  readonly friendSession: string;
  readonly friendEndpoint: Endpoint;
  /** Whether this peer is the one that dials at once. */
  readonly friendWasWaiting: boolean;
  readonly ownSession: string;
  /** The ids of the servers that relay between the two, best first. */
  readonly relays: readonly string[];
}

/** What comes of one wish, as the table stands. */
export type Outcome =
  | { readonly kind: 'match'; readonly match: Match }
  /** The holder of the name wishes for this peer, but the wish asks for another key. */
  | { readonly kind: 'conflict'; readonly wish: Wish; readonly heldBy: string }
  | { readonly kind: 'none' };

/**
 * Wishes that reached two servers within this time of each other count as simultaneous: more than
 * the spread of one peer's two registrations and of the servers' calendars, so that both servers
 * come to the same conclusion whichever records they know.
 */
const SIMULTANEOUS_MS = 250;

const NONE: Outcome = { kind: 'none' };

/**
 * What comes of the wish of `own`, a record held here, for `friend`. There is a match only if each
 * has named the other, and by key where a key is named: `names` says what that means.
 *
 * @param canRelay whether a server relays, by its id.
 */
export function outcomeOf(
  table: PeerTable,
  holders: NameHolders,
  own: PeerRecord,
  friend: string,
  canRelay: (server: string) => boolean,
): Outcome {
  const wish = own.wishes.get(friend);
  if (wish === undefined) return NONE;
  const ours = table.find(own.name, own.key);
  if (ours[0]?.session !== own.session) return NONE;
  const friendKey = wish.friendKey ?? holders.holderOf(friend);
  if (friendKey === undefined) return NONE;
  const naming = (key: string): PeerRecord[] =>
    table.find(friend, key).filter((record) => names(holders, record, own));
  const theirs = naming(friendKey);
  const [first] = theirs;
  if (first !== undefined) {
    const cameSecond = dialsFirst(own, ours, first, theirs);
    const we = { records: ours.filter((record) => names(holders, record, first)), friend };
    const they = { records: theirs, friend: own.name };
    const match: Match = {
      friend,
      friendKey,
      friendSession: first.session,
      friendEndpoint: mergedEndpoint(first, theirs, own.loopback),
      friendWasWaiting: cameSecond,
      ownSession: own.session,
      relays: cameSecond ? chooseRelays(we, they, canRelay) : chooseRelays(they, we, canRelay),
    };
    return { kind: 'match', match };
  }
  const heldBy = holders.holderOf(friend);
  return heldBy !== undefined && heldBy !== friendKey && naming(heldBy).length > 0
    ? { kind: 'conflict', wish: { friend, friendKey }, heldBy }
    : NONE;
}

/** Whether `record` wishes for `other`: by its key, or without a key and `other` holds the name. */
function names(holders: NameHolders, record: PeerRecord, other: PeerRecord): boolean {
  const wish = record.wishes.get(other.name);
  if (wish === undefined) return false;
  return (wish.friendKey ?? holders.holderOf(other.name)) === other.key;
}

/**
 * The candidates of all registrations of one session, taken in turn, since each list has the best
 * first. Loopback addresses are told only where both are seen on loopback.
 */
function mergedEndpoint(
  first: PeerRecord,
  records: readonly PeerRecord[],
  onLoopback: boolean,
): Endpoint {
  const { ufrag, password } = first.endpoint;
  // During a change of credentials one server may still hold the old ones.
  const current = records.filter(
    ({ endpoint }) => endpoint.ufrag === ufrag && endpoint.password === password,
  );
  const lists = current.map(({ endpoint, loopback }) =>
    discloseCandidates(endpoint.candidates, onLoopback && loopback),
  );
  const longest = Math.max(...lists.map(({ length }) => length));
  const inTurn = Array.from({ length: longest }, (_, rank) =>
    lists.map((list) => list[rank]).filter((candidate) => candidate !== undefined),
  );
  return {
    ...{ ufrag, password },
    candidates: unique(inTurn.flat()).slice(0, MAX_CANDIDATES),
    nat: current.find(({ endpoint }) => endpoint.nat !== undefined)?.endpoint.nat,
    relayRefused: current.some(({ endpoint }) => endpoint.relayRefused),
  };
}

/**
 * Whether this peer's wish came after the friend's, so that it dials: exactly one of the two does.
 * On a server that holds both this is a fact; across servers, of two wishes that came at once, that
 * of the lower key counts as the later.
 */
function dialsFirst(
  own: PeerRecord,
  ours: readonly PeerRecord[],
  friend: PeerRecord,
  theirs: readonly PeerRecord[],
): boolean {
  const lower = own.key === friend.key ? own.name < friend.name : own.key < friend.key;
  const ourWishes = wishesByOwner(ours, friend.name);
  const theirWishes = wishesByOwner(theirs, own.name);
  const shared = [...ourWishes.keys()].filter((owner) => theirWishes.has(owner)).sort()[0];
  const at = (wishes: ReadonlyMap<string, RecordWish>): number =>
    shared === undefined
      ? Math.min(...[...wishes.values()].map(({ since }) => since))
      : (wishes.get(shared)?.since ?? 0);
  const later = at(ourWishes) - at(theirWishes);
  const unclear = shared === undefined ? Math.abs(later) < SIMULTANEOUS_MS : later === 0;
  return unclear ? lower : later > 0;
}

function wishesByOwner(
  records: readonly PeerRecord[],
  friend: string,
): ReadonlyMap<string, RecordWish> {
  const wishes = new Map<string, RecordWish>();
  for (const { owner, wishes: own } of records) {
    const wish = own.get(friend);
    if (wish !== undefined) wishes.set(owner, wish);
  }
  return wishes;
}

/** When the two of a match had named each other, by the calendars of the servers that heard it. */
export function namedAt(
  table: PeerTable,
  own: PeerRecord,
  { friend, friendKey }: Pick<Match, 'friend' | 'friendKey'>,
): number {
  const ours = own.wishes.get(friend)?.since ?? 0;
  const theirs = table
    .find(friend, friendKey)
    .flatMap(({ wishes }) => wishes.get(own.name)?.since ?? []);
  return Math.max(ours, Math.min(...theirs));
}
