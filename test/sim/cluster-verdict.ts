import type { Wish } from '../../src/rendezvous/record.ts';
import { sessionFromWire } from '../../src/rendezvous/session-order.ts';
import { REGISTRATIONS } from './cluster-parts.ts';
import { type Person, type SimPeer, wishText } from './cluster-peer.ts';
import type { SimServer } from './cluster-server.ts';
import type { World } from './cluster-world.ts';

/*
 * What has to be once the network has been whole for a while, and is not.
 */

/** Differences between the tables of the servers; none once the network has been whole for a while. */
export function differencesOf(world: World): string[] {
  const owners = world.servers.map(({ id }) => id);
  const truth = world.live.flatMap((server) => contentsOf(server, [server.id])).sort();
  return world.live.flatMap((server) => {
    const held = contentsOf(server, owners);
    if (held.join() === truth.join()) return [];
    const extra = held.filter((line) => !truth.includes(line));
    const missing = truth.filter((line) => !held.includes(line));
    return [
      `${server.label} ${server.id.slice(0, 4)} holds ${show(extra)} and lacks ${show(missing)}`,
    ];
  });
}

/** What else is not as it has to be, once the network has been whole for a while. */
export function faultsOf(world: World, squatters: boolean): string[] {
  const faults: string[] = [];
  const serving = world.live.filter((server) => server.serving);
  const expected = world.waiting
    .flatMap((peer) => peer.registeredOn.map((id) => lineOf(id, peer, peer.session, peer.wishes)))
    .sort();
  const held = world.live.flatMap((server) => contentsOf(server, [server.id])).sort();
  const ghosts = held.filter((line) => !expected.includes(line));
  const lost = expected.filter((line) => !held.includes(line));
  if (ghosts.length + lost.length > 0) {
    faults.push(`servers hold ghosts ${show(ghosts)} and have lost ${show(lost)}`);
  }
  const ids = serving.map(({ id }) => id).sort();
  for (const balancer of world.liveBalancers) {
    const listed = [...balancer.listed.keys()].sort();
    if (listed.join() === ids.join()) continue;
    faults.push(`${balancer.label} lists ${short(listed)}, not ${short(ids)}`);
  }
  for (const server of serving) {
    const strangers = serving.filter((other) => other !== server && !server.linkedTo(other.id));
    if (strangers.length > 0) {
      faults.push(`${server.label} has no stream to ${strangers.map((s) => s.label).join()}`);
    }
  }
  const wanted = Math.min(REGISTRATIONS, serving.length);
  for (const peer of world.waiting) {
    if (squatters || peer.registeredOn.length >= wanted) continue;
    faults.push(`${peer.label} is registered on ${short(peer.registeredOn)} only`);
  }
  return [...faults, ...unmatched(world)];
}

/** Who ought to know of each other and do not. */
function unmatched(world: World): string[] {
  return mutualPairs(world).flatMap(([a, b]) => {
    const told = a.friends.get(b.person.name);
    if (told === undefined || sessionFromWire(told.friendSession) !== b.session) {
      return [`${a.label} does not know of ${b.label}`];
    }
    if (told.friendEndpoint?.ufrag !== b.ufrag) {
      return [`${a.label} has old credentials of ${b.label}`];
    }
    const [ours, theirs] = [told, b.friends.get(a.person.name)].map((match) =>
      match?.relays.map(({ serverId }) => serverId),
    );
    return ours !== undefined && ours.length > 0 && ours.join() === theirs?.join()
      ? []
      : [`${a.label} may be relayed by ${short(ours ?? [])}, ${b.label} by ${short(theirs ?? [])}`];
  });
}

/** Those who have named each other beyond doubt, each pair twice. */
function mutualPairs(world: World): (readonly [SimPeer, SimPeer])[] {
  const waiting = world.waiting.filter(({ registeredOn }) => registeredOn.length > 0);
  const named = (a: SimPeer, b: SimPeer): boolean =>
    a.wishes.some(
      (wish) => wish.friend === b.person.name && (wish.friendKey ?? b.person.key) === b.person.key,
    );
  // Where several keys wait under one name, a wish without key is for the one that holds it.
  const byKey = (a: SimPeer, b: SimPeer): boolean =>
    a.wishes.some(
      ({ friend, friendKey }) => friend === b.person.name && friendKey === b.person.key,
    );
  const alone = ({ person: { name, key } }: SimPeer): boolean =>
    waiting.every(({ person }) => person.name !== name || person.key === key);
  return waiting.flatMap((a) =>
    waiting
      .filter((b) => a !== b && named(a, b) && named(b, a))
      .filter((b) => (byKey(a, b) || alone(b)) && (byKey(b, a) || alone(a)))
      .map((b) => [a, b] as const),
  );
}

/** Pairs of friends without exactly one connection, the same on both sides. */
export function unconnectedIn(world: World): string[] {
  const { friends } = world;
  if (friends === undefined) return [];
  return mutualPairs(world).flatMap(([a, b]) => {
    if (a.label > b.label) return [];
    return friends.connected(a, b)
      ? []
      : [`${a.label} and ${b.label} have not exactly one connection`];
  });
}

function contentsOf(server: SimServer, owners: readonly string[]): string[] {
  return owners
    .flatMap((owner) => server.table.snapshotOf(owner))
    .map((record) =>
      lineOf(record.owner, { person: record }, record.session, [...record.wishes.values()]),
    )
    .sort();
}

/** One record in one line, equal for what has to be equal. */
function lineOf(
  owner: string,
  { person: { name, key } }: { readonly person: Pick<Person, 'name' | 'key'> },
  session: string,
  wishes: readonly Wish[],
): string {
  const start = parseInt(session.slice(0, 16), 16);
  const wished = wishes.map(wishText).sort().join('+');
  return `${owner.slice(0, 4)}:${name}/${key[0] ?? ''}/${start}(${wished})`;
}

function show(lines: readonly string[]): string {
  return `[${lines.join(', ')}]`;
}

function short(ids: readonly string[]): string {
  return show(ids.map((id) => id.slice(0, 4)));
}
