import type { Random } from '../../src/base/random.ts';
import type { Wish } from '../../src/rendezvous/record.ts';
import { sessionFromWire } from '../../src/rendezvous/session-order.ts';
import type { MatchFound } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { type BalancerWatch, SimBalancer } from './cluster-balancer.ts';
import { Network } from './cluster-network.ts';
import { type Parts, REGISTRATIONS, SOUND_PARTS } from './cluster-parts.ts';
import { Calm, SETTLED_AFTER_MS } from './cluster-calm.ts';
import { Friends } from './cluster-friends.ts';
import { type PeerWatch, type Person, samePerson, SimPeer } from './cluster-peer.ts';
import type { Program } from './cluster-program.ts';
import { type PeerIdentity, type ServerWatch, SimServer } from './cluster-server.ts';

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
  /** How friends, once told of each other, connect; undefined where they do not. */
  readonly friends: Friends | undefined;
  readonly #calm: Calm;
  readonly #parts: Parts;
  readonly #balancers = new Map<string, SimBalancer>();
  /** How far the calendar of each computer is off. */
  readonly #calendars = new Map<string, number>();
  readonly #setBack = new Set<string>();
  #serial = 0;

  constructor(random: Random, options: { readonly parts?: Parts; readonly links: boolean }) {
    this.random = random;
    this.network = new Network(random);
    this.#parts = options.parts ?? SOUND_PARTS;
    this.#calm = new Calm(
      this.network,
      () => this.liveBalancers.length === this.balancerPlaces.length,
    );
    const askAgain = (session: string, friend: string): void =>
      this.waiting.find((peer) => peer.session === session)?.askAgain(friend);
    this.friends = options.links ? new Friends(this.network, askAgain) : undefined;
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
    const calm = this.#calm.lasts(SETTLED_AFTER_MS);
    return this.#start(place, calm ? this.now : undefined);
  }

  /** A server dies and begins again at its address. */
  restartServer(server: SimServer, afterMs: number): void {
    const calmUntil = this.#calm.lasts(SETTLED_AFTER_MS) ? this.now : undefined;
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
    const wasCalm = this.#calm.lasts(SETTLED_AFTER_MS);
    this.trouble();
    server.say(silently ? 'DIES SILENTLY' : 'DIES');
    const diedAt = this.now;
    server.die(silently);
    if (!wasCalm) return;
    const lossMs = this.network.lost > 0 ? LOSS_MS : 0;
    const listedMs = silently ? SILENT_UNLISTED_MS : REFUSED_UNLISTED_MS;
    this.#later((this.#isSetBack(server.place) ? LISTED_LATE_MS : listedMs) + lossMs, () => {
      if (!this.#calm.since(diedAt)) return;
      for (const balancer of this.liveBalancers) {
        if (!balancer.listed.has(server.id)) continue;
        // With a single other or none, nothing is different.
        this.breach(`${balancer.label} still lists ${server.label}, which died at ${diedAt}`);
      }
    });
    this.#later(DEAD_SERVER_MS + lossMs, () => {
      if (!this.#calm.since(diedAt)) return;
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
    this.#calm.hurt(program.place);
    program.resume();
  }

  readdress(server: SimServer): void {
    this.trouble();
    this.#calm.hurt(server.place);
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
    this.friends?.part(a, b);
  }

  heal(): void {
    this.trouble();
    this.network.say('HEALS');
    for (const parted of this.network.heal()) this.#calm.hurt(parted);
    for (const program of this.network.programs) if (program.paused) this.resume(program);
    this.friends?.heal();
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

  /** Something happens that other things are not expected to stand. */
  trouble(): void {
    this.#calm.trouble();
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
    if (friend !== undefined) this.friends?.link(peer, friend, match);
  }

  unregistered(peer: SimPeer, server: string, since: number): void {
    const draining = this.servers.find(({ id }) => id === server);
    const begunAt = draining?.drainingSince;
    if (draining === undefined || begunAt === undefined || this.network.lost > 0) return;
    const calmMs = this.now - begunAt + SETTLED_AFTER_MS;
    if (this.now - since < SETTLED_AFTER_MS || !this.#calm.lasts(calmMs)) return;
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
    this.friends?.gone(peer, silently);
    const sound = goneAt - peer.lostAt > SILENT_PEER_MS && this.#calm.lasts(SETTLED_AFTER_MS);
    const lossMs = this.network.lost > 0 ? LOSS_MS : 0;
    this.#later((silently ? SILENT_PEER_MS : CLOSED_PEER_MS) + lossMs, () => {
      if (!sound || !this.#calm.since(goneAt)) return;
      this.#expectNoGhost(peer);
    });
  }

  serves(newcomer: SimServer): void {
    if (!this.#calm.lasts(SETTLED_AFTER_MS) || this.network.lost > 0) return;
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
    if (dead === undefined || dead.draining || !this.#calm.between(server, dead)) return;
    this.breach(`${server.label} purges ${dead.label}, which lives and can be reached`);
  }

  unlinked(server: SimServer, id: string, reason: string): void {
    const other = this.live.find((each) => each.id === id);
    if (other === undefined || other.draining || server.draining) return;
    if (this.#calm.between(server, other)) {
      this.breach(`${server.label} lost its stream to ${other.label}: ${reason}`);
    }
  }

  removed(balancer: SimBalancer, id: string, reason: string): void {
    const server = this.live.find((each) => each.id === id);
    if (server === undefined || server.draining || !this.#calm.between(balancer, server)) return;
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
      if (!this.#calm.since(calmUntil) || !server.alive || server.draining) return;
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
}
