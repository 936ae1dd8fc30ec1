import type { Timer } from '../../src/base/clock.ts';
import type { Random } from '../../src/base/random.ts';
import { Introducer, type IntroducerEffect, type Moment } from '../../src/rendezvous/introducer.ts';
import type { Match } from '../../src/rendezvous/matching.ts';
import { factToWire, type Member, memberToWire } from '../../src/rendezvous/member.ts';
import { Membership, type MembershipInput } from '../../src/rendezvous/membership.ts';
import type { Wish } from '../../src/rendezvous/record.ts';
import { ReplicatedTable } from '../../src/rendezvous/replicated-table.ts';
import { ReplicationSession } from '../../src/rendezvous/replication.ts';
import { ReplicationFrame } from '../../src/rpc/generated/chatty/v1/replication.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import { VirtualClock } from './virtual-clock.ts';

const CHECK_EVERY_MS = 5_000;
const REGISTER_EVERY_MS = 5_000;
const LOOK_EVERY_MS = 400;

/** One end of the stream between two servers. */
interface End {
  readonly server: SimServer;
  readonly session: ReplicationSession;
  readonly wanted: string | undefined;
  other: End | undefined;
  timer: Timer | undefined;
  over: boolean;
  /** What it sends is lost: once something was, the stream brings nothing more. */
  dead: boolean;
  lastArrivalAt: number;
}

/** Everything there is: servers, one load balancer, peers, and the network between them. */
export class World {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly servers: SimServer[] = [];
  readonly peers: SimPeer[] = [];
  /** Breaches noticed on the way. */
  readonly breaches: string[] = [];
  readonly trace: string[] = [];
  balancerUp = true;
  /** Whether servers or the balancer have been cut off: then the dead are noticed later. */
  everParted = false;
  readonly #parted = new Set<string>();
  /** The servers on the load balancer's list. */
  readonly #listed = new Map<string, SimServer>();
  #serial = 0;

  constructor(random: Random) {
    this.random = random;
    this.#check();
  }

  say(text: string): void {
    this.trace.push(`${this.clock.now().toFixed(0)} ${text}`);
  }

  serial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  later(ms: number, what: () => void): void {
    this.clock.setTimer(ms, what);
  }

  latency(): number {
    return 1 + this.random.below(60);
  }

  get live(): SimServer[] {
    return this.servers.filter(({ alive }) => alive);
  }

  startServer(): SimServer {
    const server = new SimServer(this);
    this.servers.push(server);
    this.say(`server ${server.label} starts`);
    server.begin();
    return server;
  }

  reachable(a: SimServer, b: SimServer): boolean {
    return a.alive && b.alive && !this.#parted.has(pair(a, b));
  }

  part(a: SimServer, b: SimServer): void {
    this.everParted = true;
    this.say(`network between ${a.label} and ${b.label} breaks`);
    this.#parted.add(pair(a, b));
  }

  cutBalancer(): void {
    this.everParted = true;
    this.say('the load balancer is cut off');
    this.balancerUp = false;
  }

  healAll(): void {
    this.say('network heals');
    this.#parted.clear();
    this.balancerUp = true;
  }

  /** What the load balancer answers to a registration. */
  register(server: SimServer): Member[] | undefined {
    if (!this.balancerUp) return undefined;
    if (server.membership.serving && !this.#listed.has(server.id)) {
      this.#listed.set(server.id, server);
      this.#tellOne(server, 'alive');
    }
    return [...this.#listed.values()].map(({ member }) => member);
  }

  restartBalancer(): void {
    this.say('the load balancer restarts');
    this.#listed.clear();
  }

  #check(): void {
    this.later(CHECK_EVERY_MS, () => {
      if (this.balancerUp) {
        for (const [id, server] of this.#listed) {
          if (server.alive) continue;
          // A silent server is given a second chance.
          this.later(this.random.below(2_000), () => {
            if (this.#listed.delete(id)) this.#tellOne(server, 'removed');
          });
        }
      }
      this.#check();
    });
  }

  /** One healthy server is told, and tells the rest. */
  #tellOne(about: SimServer, standing: 'alive' | 'removed'): void {
    const healthy = this.live.filter((server) => server !== about && server.membership.serving);
    const one = healthy[this.random.below(Math.max(1, healthy.length))];
    if (one === undefined) return;
    const facts = [{ member: about.member, standing }];
    this.later(this.latency(), () => {
      one.step({ type: 'notified', facts });
      for (const { id } of one.membership.others()) {
        const other = this.servers.find((server) => server.id === id);
        if (other === undefined || !this.reachable(one, other)) continue;
        this.later(this.latency(), () => other.step({ type: 'notified', facts }));
      }
    });
  }
}

function pair(a: SimServer, b: SimServer): string {
  return [a.id, b.id].sort().join(' ');
}

/** The pure parts of a server, and what its shells do. */
export class SimServer {
  readonly world: World;
  readonly id: string;
  readonly label: string;
  readonly member: Member;
  readonly table = new ReplicatedTable();
  readonly introducer: Introducer;
  readonly membership: Membership;
  readonly connections = new Map<number, SimPeer>();
  readonly #ends = new Map<string, End>();
  readonly #all = new Set<End>();
  readonly #skewMs: number;
  #timer: Timer | undefined;
  #changes: (() => void)[] = [];
  alive = true;

  constructor(world: World) {
    this.world = world;
    this.label = `s${world.serial()}`;
    this.id = Buffer.from(world.random.bytes(16)).toString('hex');
    this.#skewMs = world.random.below(200) - 100;
    this.introducer = new Introducer(this.id, this.table);
    this.membership = new Membership(this.id, world.random);
    this.member = {
      id: this.id,
      incarnation: 1,
      peerAddresses: [],
      clusterAddresses: [{ host: '127.0.0.1', port: 1024 + world.serial() }],
      certificate: new Uint8Array(),
    };
  }

  moment(): Moment {
    const { clock } = this.world;
    return { now: clock.now(), wallClock: clock.wallClock() + this.#skewMs };
  }

  begin(): void {
    this.step({ type: 'balancers', balancers: ['lb'] });
    this.#register();
  }

  crash(): void {
    const { world } = this;
    world.say(`server ${this.label} crashes`);
    this.alive = false;
    this.#timer?.cancel();
    const silent = world.random.below(2) === 0;
    for (const end of this.#all) {
      end.timer?.cancel();
      end.dead = true;
      const { other } = end;
      if (other !== undefined && !silent) {
        world.later(world.latency(), () => other.server.#end(other));
      }
    }
    world.later(12_000, () => {
      if (world.everParted) return;
      for (const server of world.live) {
        if (server.table.digestOf(this.id).count > 0) {
          world.breaches.push(`${server.label} holds records of ${this.label}, dead for 12 s`);
        }
      }
    });
  }

  step(input: MembershipInput): void {
    if (!this.alive) return;
    const { clock } = this.world;
    for (const effect of this.membership.step(input, clock.now())) {
      switch (effect.type) {
        case 'dial':
          this.#dial(effect.member);
          break;
        case 'nudge': {
          const target = this.world.servers.find(({ id }) => id === effect.member.id);
          if (target === undefined || !this.world.reachable(this, target)) break;
          const facts = [{ member: this.member, standing: 'alive' as const }];
          this.world.later(this.world.latency(), () => target.step({ type: 'notified', facts }));
          break;
        }
        case 'purge':
          this.world.say(`${this.label} purges ${effect.id.slice(0, 4)}`);
          this.run(this.introducer.purge(effect.id, this.moment()));
          break;
        case 'serve':
          this.world.say(`server ${this.label} serves`);
          this.world.later(1, () => this.#registerOnce());
          break;
      }
    }
    this.#timer?.cancel();
    const at = this.membership.nextDeadline(clock.now());
    if (at === undefined) return;
    this.#timer = clock.setTimer(at - clock.now(), () => this.step({ type: 'tick' }));
  }

  run(effects: readonly IntroducerEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'push':
          this.connections.get(effect.registration)?.told(this, effect.match);
          break;
        case 'conflict':
          break;
        case 'dismiss':
          this.connections.get(effect.registration)?.dismissed(this, effect.reason);
          this.connections.delete(effect.registration);
          break;
        case 'update':
          for (const end of this.#all) end.session.changed(effect.update);
          this.#flushSoon();
          break;
      }
    }
  }

  #register(): void {
    this.#registerOnce();
    this.world.later(REGISTER_EVERY_MS, () => {
      if (this.alive) this.#register();
    });
  }

  #registerOnce(): void {
    const members = this.world.register(this);
    if (members === undefined) this.step({ type: 'registration-failed', balancer: 'lb' });
    else this.step({ type: 'registered', balancer: 'lb', members });
  }

  #dial(member: Member): void {
    const { world } = this;
    world.later(2 * world.latency(), () => {
      if (!this.alive) return;
      const target = world.servers.find(({ id }) => id === member.id);
      if (target === undefined || !world.reachable(this, target)) {
        this.step({ type: 'unlinked', id: member.id });
        return;
      }
      const [mine, theirs] = [this.#open(member.id), target.#open(undefined)];
      mine.other = theirs;
      theirs.other = mine;
      this.#flush(mine);
      target.#flush(theirs);
    });
  }

  #open(wanted: string | undefined): End {
    const { clock } = this.world;
    const session = new ReplicationSession(
      {
        hello: () => ({
          protocol: OWN_PROTOCOL,
          member: memberToWire(this.member),
          members: this.membership.facts().map(factToWire),
        }),
        snapshot: () => this.introducer.snapshot(),
        seq: () => this.introducer.seq,
        ownDigest: () => this.table.digestOf(this.id),
        digestOf: (owner) => this.table.digestOf(owner),
        unreachable: () => this.membership.unreachable(clock.now()),
      },
      clock.now(),
    );
    const end: End = {
      ...{ server: this, session, wanted, other: undefined, timer: undefined },
      ...{ over: false, dead: false, lastArrivalAt: 0 },
    };
    this.#all.add(end);
    return end;
  }

  #flushSoon(): void {
    if (this.#changes.push(() => undefined) > 1) return;
    this.world.later(0, () => {
      this.#changes = [];
      for (const end of [...this.#all]) this.#flush(end);
    });
  }

  #flush(end: End): void {
    const { clock } = this.world;
    if (end.over || !this.alive) return;
    for (let frame; (frame = end.session.next(clock.now())) !== undefined;) this.#send(end, frame);
    end.timer?.cancel();
    const delayMs = Math.max(1, end.session.nextDeadline() - clock.now());
    end.timer = clock.setTimer(delayMs, () => {
      this.#apply(end, end.session.tick(clock.now()));
      this.#flush(end);
    });
  }

  #send(end: End, frame: ReplicationFrame): void {
    const { world } = this;
    const { other } = end;
    if (other === undefined) return;
    if (!world.reachable(this, other.server)) {
      end.dead = true;
      other.dead = true;
    }
    if (end.dead) return;
    // Through the bytes of the wire, as it is in truth.
    const bytes = ReplicationFrame.encode(frame).finish();
    other.lastArrivalAt = Math.max(other.lastArrivalAt, world.clock.now() + world.latency());
    world.later(other.lastArrivalAt - world.clock.now(), () => {
      if (other.over || end.dead || !other.server.alive) return;
      const effects = other.session.receive(ReplicationFrame.decode(bytes), world.clock.now());
      other.server.#apply(other, effects);
      other.server.#flush(other);
    });
  }

  #apply(end: End, effects: ReturnType<ReplicationSession['receive']>): void {
    const owner = end.session.other?.id ?? '';
    for (const effect of effects) {
      switch (effect.type) {
        case 'linked': {
          const before = this.#ends.get(owner);
          this.#ends.set(owner, end);
          if (before !== undefined) this.#end(before);
          this.step({ type: 'linked', member: effect.member });
          this.step({ type: 'hearsay', facts: effect.facts });
          break;
        }
        case 'upsert':
          this.run(this.introducer.upsertRemote(effect.record, this.moment()));
          break;
        case 'remove':
          this.run(this.introducer.removeRemote(owner, effect.key, this.moment()));
          break;
        case 'retain':
          this.run(this.introducer.retainRemote(owner, effect.records, this.moment()));
          this.step({ type: 'snapshot', id: owner });
          break;
        case 'reach':
          this.step({ type: 'reach', from: owner, unreachable: effect.unreachable });
          break;
        case 'close':
          this.#end(end);
          break;
      }
    }
  }

  #end(end: End): void {
    if (end.over) return;
    end.over = true;
    end.timer?.cancel();
    this.#all.delete(end);
    const id = end.session.other?.id;
    if (id !== undefined && this.#ends.get(id) === end) {
      this.#ends.delete(id);
      this.step({ type: 'unlinked', id, lastHeardAt: end.session.lastHeardAt });
    } else if (end.wanted !== undefined && !this.#ends.has(end.wanted)) {
      this.step({ type: 'unlinked', id: end.wanted });
    }
    const { other } = end;
    if (other === undefined || end.dead) return;
    this.world.later(this.world.latency(), () => {
      if (other.server.alive) other.server.#end(other);
    });
  }

  /** Everything it holds, in a form that can be compared. */
  contents(): string[] {
    const owners = this.world.servers.map(({ id }) => id);
    return owners
      .flatMap((owner) => this.table.snapshotOf(owner))
      .map(({ owner, name, key, session, wishes }) =>
        [owner.slice(0, 4), name, key[0], session, ...[...wishes.keys()].sort()].join(' '),
      )
      .sort();
  }
}

/** One run of a peer's program: two registrations, renewed as servers go. */
export class SimPeer {
  readonly world: World;
  readonly name: string;
  readonly key: string;
  readonly session: string;
  wishes: readonly Wish[];
  ufrag = 'frag';
  /** Every wish it ever had. */
  readonly named: Wish[] = [];
  readonly registrations = new Map<SimServer, number>();
  /** The friends' sessions it has been told of. */
  readonly friends = new Map<string, Match>();
  alive = true;
  #blockedUntil = 0;

  constructor(world: World, name: string, key: string, wishes: readonly Wish[]) {
    this.world = world;
    this.name = name;
    this.key = key;
    this.session = world.serial().toString(16).padStart(16, '0') + '0'.repeat(32);
    this.wishes = wishes;
    this.named.push(...wishes);
    world.say(`peer ${this.label} comes, wishes ${wishes.map(wishText).join(', ')}`);
    world.peers.push(this);
    this.#look();
  }

  get label(): string {
    return `${this.name}/${this.key[0] ?? ''}/${parseInt(this.session.slice(0, 16), 16)}`;
  }

  told(server: SimServer, match: Match): void {
    const { world } = this;
    world.say(
      `${this.label} is told of ${match.friend}/${match.friendKey[0] ?? ''} by ${server.label}`,
    );
    const friend = world.peers.find(({ session }) => session === match.friendSession);
    const named = (by: SimPeer, whom: SimPeer): boolean =>
      by.named.some(
        (wish) => wish.friend === whom.name && (wish.friendKey ?? whom.key) === whom.key,
      );
    if (friend === undefined || friend.key !== match.friendKey || friend.name !== match.friend) {
      world.breaches.push(`${this.label} was told of nobody`);
    } else if (!named(friend, this) || !named(this, friend)) {
      world.breaches.push(`${this.label} was told of ${friend.label}, who are not each other's`);
    }
    if (match.ownSession !== this.session) world.breaches.push('a match for another session');
    this.friends.set(match.friend, match);
  }

  dismissed(server: SimServer, reason: string): void {
    this.world.say(`${this.label} is dismissed by ${server.label}: ${reason}`);
    if (reason === 'superseded') return;
    this.registrations.delete(server);
    if (reason === 'replaced') this.leave();
    else this.#blockedUntil = this.world.clock.now() + 5_000;
  }

  leave(): void {
    if (!this.alive) return;
    this.world.say(`peer ${this.label} leaves`);
    this.alive = false;
    const registrations = [...this.registrations];
    this.registrations.clear();
    for (const [server, id] of registrations) {
      this.world.later(this.world.latency(), () => {
        if (server.alive) server.run(server.introducer.leave(id, server.moment()));
        server.connections.delete(id);
      });
    }
  }

  rewish(wish: Wish, withdraw: boolean): void {
    this.wishes = this.wishes.filter(({ friend }) => friend !== wish.friend);
    this.world.say(`${this.label} ${withdraw ? 'withdraws' : 'wishes'} ${wishText(wish)}`);
    if (withdraw) {
      this.friends.delete(wish.friend);
    } else {
      this.wishes = [...this.wishes, wish];
      this.named.push(wish);
    }
    for (const [server, id] of this.registrations) {
      if (!server.alive) continue;
      const at = server.moment();
      const { introducer } = server;
      server.run(
        withdraw ? introducer.withdraw(id, wish.friend, at) : introducer.wish(id, wish, at),
      );
    }
  }

  move(): void {
    this.ufrag = `frag${this.world.serial()}`;
    for (const [server, id] of this.registrations) {
      if (!server.alive) continue;
      server.run(server.introducer.move(id, this.#endpoint, false, server.moment()));
    }
  }

  /** Loses one connection without the server noticing, and comes back to the same server. */
  reconnect(): void {
    const [server] = this.registrations.keys();
    if (server?.alive === true) this.#register(server);
  }

  get #endpoint() {
    return { candidates: [], ufrag: this.ufrag, password: 'p'.repeat(24) };
  }

  #look(): void {
    if (!this.alive) return;
    const { world } = this;
    for (const server of this.registrations.keys()) {
      // A dead server is noticed sooner or later.
      if (!server.alive && world.random.below(5) === 0) this.registrations.delete(server);
    }
    const free = world.live.filter(
      (server) => server.membership.serving && !this.registrations.has(server),
    );
    const server = free[world.random.below(Math.max(1, free.length))];
    if (this.registrations.size < 2 && server !== undefined) {
      if (world.clock.now() >= this.#blockedUntil) this.#register(server);
    }
    world.later(LOOK_EVERY_MS, () => this.#look());
  }

  #register(server: SimServer): void {
    const { name, key, session, wishes } = this;
    const claim = { name, key, session, wishes, endpoint: this.#endpoint, loopback: false };
    const result = server.introducer.register(claim, server.moment());
    if ('refused' in result) {
      this.world.say(`${this.label} is refused by ${server.label}: ${result.refused}`);
      if (result.refused === 'replaced') this.leave();
      this.#blockedUntil = this.world.clock.now() + 5_000;
      return;
    }
    const before = this.registrations.get(server);
    if (before !== undefined) server.connections.delete(before);
    this.registrations.set(server, result.registration);
    server.connections.set(result.registration, this);
    server.run(result.effects);
  }
}

function wishText({ friend, friendKey }: Wish): string {
  return friendKey === undefined ? friend : `${friend}=${friendKey[0] ?? ''}`;
}
