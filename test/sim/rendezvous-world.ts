import type { Random } from '../../src/base/random.ts';
import type { Wish } from '../../src/rendezvous/record.ts';
import { sessionFromWire, sessionToWire } from '../../src/rendezvous/session-order.ts';
import type { MatchFound } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { type BalancerWatch, SimBalancer } from './cluster-balancer.ts';
import { Network, type Program } from './cluster-network.ts';
import { type Parts, REGISTRATIONS, SOUND_PARTS } from './cluster-parts.ts';
import { type PeerWatch, type Person, SimPeer, wishText } from './cluster-peer.ts';
import { type PeerIdentity, type ServerWatch, SimServer } from './cluster-server.ts';
import { type Who, World as LinkWorld } from './link-world.ts';

/** From a trouble's end until nothing of it is to be noticed any more. */
const SETTLED_AFTER_MS = 15_000;
/** Times of DESIGN.md; a lost packet costs up to 860 ms more, and there may be three on the way. */
const REFUSED_UNLISTED_MS = 6_000;
const SILENT_UNLISTED_MS = 8_000;
const DEAD_SERVER_MS = 12_000;
const CLOSED_PEER_MS = 1_000;
const SILENT_PEER_MS = 40_000;
const LISTED_AGAIN_MS = 6_000;
/** Where the calendar was set back, the one before at its address first has to miss a renewal. */
const LISTED_LATE_MS = 12_000;
const LOSS_MS = 2_500;
/** With more servers than this at once a world takes too long. */
const MAX_SERVERS = 5;

/** Everything there is: load balancers, servers, people, the network, and what has to hold of them. */
export class World implements BalancerWatch, ServerWatch, PeerWatch {
  readonly network: Network;
  readonly random: Random;
  readonly servers: SimServer[] = [];
  readonly peers: SimPeer[] = [];
  readonly balancerPlaces: string[] = [];
  /** What was not as it has to be. */
  readonly breaches: string[] = [];
  /** How often somebody was told of a friend. */
  matches = 0;
  /** Whether friends, once told of each other, connect. */
  readonly #withLinks: boolean;
  readonly #parts: Parts;
  readonly #balancers = new Map<string, SimBalancer>();
  /** How far the calendar of each computer is off. */
  readonly #calendars = new Map<string, number>();
  readonly #setBack = new Set<string>();
  readonly #pairs = new Map<string, { readonly world: LinkWorld; readonly people: string[] }>();
  #troubledAt = -Infinity;
  /** When something last came between two places, or befell a program at one. */
  readonly #hurtAt = new Map<string, number>();
  #serial = 0;

  constructor(random: Random, options: { readonly parts?: Parts; readonly links: boolean }) {
    this.random = random;
    this.network = new Network(random);
    this.#parts = options.parts ?? SOUND_PARTS;
    this.#withLinks = options.links;
    this.#inspect();
  }

  get now(): number {
    return this.network.clock.now();
  }

  serial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.random.below(Math.max(1, items.length))];
  }

  breach(text: string): void {
    this.network.say(`BREACH ${text}`);
    this.breaches.push(`${this.now.toFixed(0)} ${text}`);
  }

  get live(): SimServer[] {
    return this.servers.filter(({ alive }) => alive);
  }

  get waiting(): SimPeer[] {
    return this.peers.filter(({ alive }) => alive);
  }

  get liveBalancers(): SimBalancer[] {
    return [...this.#balancers.values()].filter(({ alive }) => alive);
  }

  // --- what the world is told ---

  balancers(): readonly string[] {
    return this.balancerPlaces.map((place) => `${place}:50051`);
  }

  identify(peer: Program): PeerIdentity | undefined {
    return peer instanceof SimPeer ? peer.person : undefined;
  }

  // --- what happens ---

  startBalancer(place: string): SimBalancer {
    const label = `b${place.slice(place.lastIndexOf('.') + 1)}`;
    const balancer = new SimBalancer(this.network, label, place, this.#parts, this);
    balancer.say('STARTS');
    this.#balancers.set(place, balancer);
    if (!this.balancerPlaces.includes(place)) this.balancerPlaces.push(place);
    return balancer;
  }

  restartBalancer(place: string): void {
    this.trouble();
    this.#balancers.get(place)?.die(false);
    this.startBalancer(place);
  }

  killBalancer(place: string, silently: boolean): void {
    this.trouble();
    const balancer = this.#balancers.get(place);
    balancer?.say('DIES');
    balancer?.die(silently);
  }

  /** A load balancer goes, and another comes at an address of its own: the name tells. */
  moveBalancer(place: string): void {
    this.killBalancer(place, false);
    this.balancerPlaces.splice(this.balancerPlaces.indexOf(place), 1);
    this.startBalancer(this.newPlace(1));
  }

  startServer(place = this.newPlace(0)): SimServer {
    const calm = this.calmFor(SETTLED_AFTER_MS);
    return this.#start(place, calm ? this.now : undefined);
  }

  /** A server dies and begins again at its address. */
  restartServer(server: SimServer, afterMs: number): void {
    const calmUntil = this.calmFor(SETTLED_AFTER_MS) ? this.now : undefined;
    this.crash(server, false);
    this.#later(afterMs, () => {
      if (this.live.length < MAX_SERVERS) this.#start(server.place, calmUntil);
    });
  }

  /** @param calmUntil since when nothing has happened that its listing may take longer for. */
  #start(place: string, calmUntil: number | undefined): SimServer {
    const server = new SimServer(this.network, {
      ...{ label: `s${this.serial()}`, place, parts: this.#parts, watch: this },
      calendarMs: this.#calendars.get(place) ?? 0,
    });
    this.servers.push(server);
    if (calmUntil !== undefined) this.#expectListed(server, calmUntil);
    return server;
  }

  crash(server: SimServer, silently: boolean): void {
    const wasCalm = this.calmFor(SETTLED_AFTER_MS);
    this.trouble();
    server.say(silently ? 'DIES SILENTLY' : 'DIES');
    const diedAt = this.now;
    server.die(silently);
    if (!wasCalm) return;
    const lossMs = this.network.lost > 0 ? LOSS_MS : 0;
    const listedMs = silently ? SILENT_UNLISTED_MS : REFUSED_UNLISTED_MS;
    this.#later((this.#isSetBack(server.place) ? LISTED_LATE_MS : listedMs) + lossMs, () => {
      if (!this.#untroubledSince(diedAt)) return;
      for (const balancer of this.liveBalancers) {
        if (!balancer.listed.has(server.id)) continue;
        // With a single other or none, nothing is different.
        this.breach(`${balancer.label} still lists ${server.label}, which died at ${diedAt}`);
      }
    });
    this.#later(DEAD_SERVER_MS + lossMs, () => {
      if (!this.#untroubledSince(diedAt)) return;
      for (const other of this.live) {
        if (other.table.digestOf(server.id).count === 0) continue;
        this.breach(`${other.label} still holds records of ${server.label}, dead since ${diedAt}`);
      }
    });
  }

  pause(program: Program): void {
    this.trouble();
    program.pause();
  }

  resume(program: Program): void {
    this.trouble();
    this.#hurtAt.set(program.place, this.now);
    program.resume();
  }

  readdress(server: SimServer): void {
    this.trouble();
    this.#hurtAt.set(server.place, this.now);
    server.readdress();
  }

  jumpCalendar(place: string, ms: number): void {
    this.network.say(`the calendar of ${place} JUMPS by ${ms} ms`);
    this.#calendars.set(place, (this.#calendars.get(place) ?? 0) + ms);
    if (ms < 0) this.#setBack.add(place);
    for (const program of this.network.programs) {
      if (program.place === place) program.calendarMs += ms;
    }
  }

  part(a: string, b: string): void {
    this.trouble();
    this.network.say(`${a} and ${b} are PARTED`);
    this.network.part(a, b);
    for (const pair of this.#pairs.values()) {
      if (pair.people.includes(a) && pair.people.includes(b)) pair.world.breakNetwork();
    }
  }

  heal(): void {
    this.trouble();
    this.network.say('HEALS');
    for (const parted of this.network.heal()) this.#hurtAt.set(parted, this.now);
    for (const program of this.network.programs) if (program.paused) this.resume(program);
    for (const { world } of this.#pairs.values()) world.healNetwork();
  }

  newPlace(kind: 0 | 1): string {
    return `10.0.${kind}.${this.serial()}`;
  }

  startPeer(person: Person, wishes: readonly Wish[]): SimPeer {
    // One computer runs one program of one person; a newer one elsewhere takes its place.
    const older = this.waiting.filter((peer) => samePerson(peer.person, person));
    const startNumber = this.serial();
    const host = older.some((peer) => peer.person.host === person.host)
      ? `10.2.${person.host.split('.')[2] ?? ''}.${startNumber % 250}`
      : person.host;
    const label = `${person.name}/${person.key[0] ?? ''}/${startNumber}`;
    const peer = new SimPeer(this.network, {
      ...{ label, startNumber, wishes, parts: this.#parts, watch: this },
      person: { ...person, host },
    });
    this.peers.push(peer);
    return peer;
  }

  // --- troubles and calm ---

  /** Something happens that other things are not expected to stand. */
  trouble(): void {
    this.#troubledAt = this.now;
  }

  calmFor(ms: number): boolean {
    return this.#quiet() && this.now - this.#troubledAt >= ms;
  }

  #untroubledSince(at: number): boolean {
    return this.#quiet() && this.#troubledAt <= at;
  }

  /** Whether the two have run, and nothing has come between them, for a while. */
  #sound(one: Program, other: Program): boolean {
    const between = [one.place, other.place, [one.place, other.place].sort().join(' ')];
    return (
      this.network.reachable(one.place, other.place) &&
      [one, other].every(({ alive, paused, startedAt }) => {
        return alive && !paused && this.now - startedAt >= SETTLED_AFTER_MS;
      }) &&
      between.every((hurt) => this.now - (this.#hurtAt.get(hurt) ?? -Infinity) >= SETTLED_AFTER_MS)
    );
  }

  #quiet(): boolean {
    if (!this.network.whole) return false;
    for (const { paused } of this.network.programs) if (paused) return false;
    return this.liveBalancers.length === this.balancerPlaces.length;
  }

  #later(ms: number, what: () => void): void {
    this.network.clock.setTimer(ms, what);
  }

  // --- what has to hold ---

  told(peer: SimPeer, match: MatchFound): void {
    this.matches += 1;
    const session = sessionFromWire(match.friendSession);
    const friend = this.peers.find((each) => each.session === session);
    const key = match.friendKey.toString('hex');
    peer.say(`is told of ${friend?.label ?? 'nobody'}`);
    const named = (by: SimPeer, whom: SimPeer): boolean =>
      by.named.some(
        (wish) =>
          wish.friend === whom.person.name &&
          (wish.friendKey ?? whom.person.key) === whom.person.key,
      );
    if (friend?.person.key !== key || friend.person.name !== match.friend) {
      this.breach(`${peer.label} was told of nobody`);
    } else if (!named(friend, peer) || !named(peer, friend)) {
      this.breach(`${peer.label} was told of ${friend.label}, who are not each other's`);
    }
    if (sessionFromWire(match.ownSession) !== peer.session) {
      this.breach(`${peer.label} was told of a match of another session`);
    }
    if (friend !== undefined && this.#withLinks) this.#link(peer, friend, match);
  }

  unregistered(peer: SimPeer, server: string, since: number): void {
    const draining = this.servers.find(({ id }) => id === server);
    const begunAt = draining?.drainingSince;
    if (draining === undefined || begunAt === undefined || this.network.lost > 0) return;
    const calmMs = this.now - begunAt + SETTLED_AFTER_MS;
    if (this.now - since < SETTLED_AFTER_MS || !this.calmFor(calmMs)) return;
    const others = this.live.filter(
      ({ serving, servingSince = Infinity }) =>
        serving && this.now - servingSince > SETTLED_AFTER_MS,
    );
    if (Math.min(REGISTRATIONS, others.length) > peer.registeredOn.length) {
      this.breach(`${peer.label} has noticed that ${draining.label} drains`);
    }
  }

  gone(peer: SimPeer, silently: boolean): void {
    const goneAt = this.now;
    if (this.#withLinks) {
      for (const [who, world] of this.#linksOf(peer)) world.end(who, !silently);
    }
    const sound = goneAt - peer.lostAt > SILENT_PEER_MS && this.calmFor(SETTLED_AFTER_MS);
    const lossMs = this.network.lost > 0 ? LOSS_MS : 0;
    this.#later((silently ? SILENT_PEER_MS : CLOSED_PEER_MS) + lossMs, () => {
      if (!sound || !this.#untroubledSince(goneAt)) return;
      this.#expectNoGhost(peer);
    });
  }

  serves(newcomer: SimServer): void {
    if (!this.calmFor(SETTLED_AFTER_MS) || this.network.lost > 0) return;
    for (const server of this.live) {
      if (
        server === newcomer ||
        server.draining ||
        this.now - (server.servingSince ?? Infinity) < SETTLED_AFTER_MS
      ) {
        continue;
      }
      for (const record of server.introducer.snapshot()) {
        const peer = this.peers.find(({ session }) => session === record.session);
        const since = peer?.registeredSince(server.id) ?? Infinity;
        if (this.now - since < 2_000) continue;
        if (newcomer.table.get(server.id, record) !== undefined) continue;
        this.breach(`${newcomer.label} serves and does not know of ${peer?.label ?? '?'}`);
      }
    }
  }

  purges(server: SimServer, owner: string): void {
    const dead = this.live.find(({ id }) => id === owner);
    if (dead === undefined || dead.draining || !this.#sound(server, dead)) return;
    this.breach(`${server.label} purges ${dead.label}, which lives and can be reached`);
  }

  unlinked(server: SimServer, id: string, reason: string): void {
    const other = this.live.find((each) => each.id === id);
    if (other === undefined || other.draining || server.draining) return;
    if (this.#sound(server, other)) {
      this.breach(`${server.label} lost its stream to ${other.label}: ${reason}`);
    }
  }

  removed(balancer: SimBalancer, id: string, reason: string): void {
    const server = this.live.find((each) => each.id === id);
    if (server === undefined || server.draining || !this.#sound(balancer, server)) return;
    this.breach(`${balancer.label} removed ${server.label}, which lives: ${reason}`);
  }

  #isSetBack(place: string): boolean {
    return this.#setBack.has(place);
  }

  #expectListed(server: SimServer, calmUntil: number): void {
    const startedAt = this.now;
    const lossMs = this.network.lost > 0 ? 2 * LOSS_MS : 0;
    const listedMs = this.#isSetBack(server.place) ? LISTED_LATE_MS : LISTED_AGAIN_MS;
    this.#later(listedMs + lossMs, () => {
      if (!this.#untroubledSince(calmUntil) || !server.alive || server.draining) return;
      for (const balancer of this.liveBalancers) {
        if (balancer.listed.has(server.id)) continue;
        this.breach(`${balancer.label} does not list ${server.label}, started at ${startedAt}`);
      }
    });
  }

  #expectNoGhost(peer: SimPeer): void {
    // What is lost on the way waits for a digest.
    if (this.live.some(({ losesUpdates }) => losesUpdates > 0)) return;
    for (const server of this.live) {
      // What a server that is gone itself leaves behind has its own time.
      for (const owner of this.live) {
        const { name, key } = peer.person;
        if (server.table.get(owner.id, { name, key, session: peer.session }) === undefined)
          continue;
        this.breach(`${server.label} holds ${peer.label} on ${owner.label}, who is gone`);
      }
    }
  }

  /** What holds at any time, looked at once a second. */
  #inspect(): void {
    this.#later(1_000, () => {
      const seqs = new Map(this.live.map(({ id, introducer }) => [id, introducer.seq]));
      for (const server of this.live) {
        if (server.introducer.registered !== server.desk.registered) {
          this.breach(`${server.label} has registrations without conversations`);
        }
        for (const [owner, seq] of seqs) {
          for (const record of server.table.snapshotOf(owner)) {
            if (record.seq > seq) this.breach(`${server.label} holds what ${owner} never wrote`);
          }
        }
      }
      this.#inspect();
    });
  }

  /** Differences between the tables of the servers; none once the network has been whole for a while. */
  differences(): string[] {
    const owners = this.servers.map(({ id }) => id);
    const truth = this.live.flatMap((server) => contentsOf(server, [server.id])).sort();
    return this.live.flatMap((server) => {
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
  faults(squatters: boolean): string[] {
    const faults: string[] = [];
    const serving = this.live.filter((server) => server.serving);
    const expected = this.waiting
      .flatMap((peer) => peer.registeredOn.map((id) => lineOf(id, peer, peer.session, peer.wishes)))
      .sort();
    const held = this.live.flatMap((server) => contentsOf(server, [server.id])).sort();
    const ghosts = held.filter((line) => !expected.includes(line));
    const lost = expected.filter((line) => !held.includes(line));
    if (ghosts.length + lost.length > 0) {
      faults.push(`servers hold ghosts ${show(ghosts)} and have lost ${show(lost)}`);
    }
    const ids = serving.map(({ id }) => id).sort();
    for (const balancer of this.liveBalancers) {
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
    for (const peer of this.waiting) {
      if (squatters || peer.registeredOn.length >= wanted) continue;
      faults.push(`${peer.label} is registered on ${short(peer.registeredOn)} only`);
    }
    return [...faults, ...this.#unmatched()];
  }

  /** Who ought to know of each other and do not. */
  #unmatched(): string[] {
    return this.mutualPairs().flatMap(([a, b]) => {
      const told = a.friends.get(b.person.name);
      if (told === undefined || sessionFromWire(told.friendSession) !== b.session) {
        return [`${a.label} does not know of ${b.label}`];
      }
      return told.friendEndpoint?.ufrag === b.ufrag
        ? []
        : [`${a.label} has old credentials of ${b.label}`];
    });
  }

  /** Those who have named each other beyond doubt, each pair twice. */
  mutualPairs(): (readonly [SimPeer, SimPeer])[] {
    const waiting = this.waiting.filter(({ registeredOn }) => registeredOn.length > 0);
    const named = (a: SimPeer, b: SimPeer): boolean =>
      a.wishes.some(
        (wish) =>
          wish.friend === b.person.name && (wish.friendKey ?? b.person.key) === b.person.key,
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
  unconnected(): string[] {
    if (!this.#withLinks) return [];
    return this.mutualPairs().flatMap(([a, b]) => {
      // Who has talked with a newer program of a friend's believes in no older one any more, also
      // where the older has outlived it.
      if (a.label > b.label || [a, b].some((peer) => this.#isOutdone(peer))) return [];
      const settled = this.#pairs.get(pairOf(a.person, b.person))?.world.settled === true;
      return settled ? [] : [`${a.label} and ${b.label} have not exactly one connection`];
    });
  }

  #isOutdone({ person, session }: SimPeer): boolean {
    return this.peers.some((peer) => samePerson(peer.person, person) && peer.session > session);
  }

  // --- friends ---

  #link(peer: SimPeer, friend: SimPeer, match: MatchFound): void {
    const { friendEndpoint: endpoint, friendSession: session, friendWasWaiting } = match;
    if (endpoint === undefined || session === undefined) return;
    const pair = pairOf(peer.person, friend.person);
    let world = this.#pairs.get(pair)?.world;
    if (world === undefined) {
      const people = [peer.person, friend.person];
      const [one, other] = people.toSorted((a, b) => (keyed(a) < keyed(b) ? -1 : 1)) as [
        Person,
        Person,
      ];
      world = this.#newPair([one, other]);
      this.#pairs.set(pair, { world, people: [one.host, other.host] });
      if (!this.network.reachable(one.host, other.host)) world.breakNetwork();
    }
    const who: Who = keyed(peer.person) < keyed(friend.person) ? 0 : 1;
    const running = world.people[who];
    const own = sessionToWire(peer.session);
    if (running.dead || running.session.startedAt < own.startedAt) world.begin(who, own);
    // The one that a newer program of the same person has replaced has no say any more.
    if (world.people[who].session.startedAt !== own.startedAt) return;
    world.matched(who, { session, key: match.friendKey, endpoint, friendWasWaiting });
  }

  #newPair(people: readonly [Person, Person]): LinkWorld {
    return new LinkWorld(this.random, {
      swift: false,
      cluster: {
        clock: this.network.clock,
        fingerprints: [Buffer.from(people[0].key, 'hex'), Buffer.from(people[1].key, 'hex')],
        note: (text) => this.network.say(`  ${people.map(({ name }) => name).join('+')} ${text}`),
        renewWish: (who) => {
          const session = this.#pairs.get(pairOf(...people))?.world.people[who].session;
          this.waiting
            .find((peer) => peer.session === sessionFromWire(session))
            ?.askAgain(people[who === 0 ? 1 : 0].name);
        },
      },
    });
  }

  *#linksOf(peer: SimPeer): Generator<[Who, LinkWorld]> {
    const own = sessionToWire(peer.session).startedAt;
    for (const { world } of this.#pairs.values()) {
      for (const who of [0, 1] as const) {
        if (world.people[who].session.startedAt === own) yield [who, world];
      }
    }
  }
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

function keyed({ name, key }: Person): string {
  return `${name}/${key}`;
}

function samePerson(a: Person, b: Person): boolean {
  return keyed(a) === keyed(b);
}

function pairOf(a: Person, b: Person): string {
  return [keyed(a), keyed(b)].sort().join(' ');
}
