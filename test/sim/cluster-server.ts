import { formatAddress } from '../../src/base/address.ts';
import { backoffDelayMs } from '../../src/base/backoff.ts';
import type { Timer } from '../../src/base/clock.ts';
import { Admission } from '../../src/rendezvous/admission.ts';
import { Introducer, type IntroducerEffect, type Moment } from '../../src/rendezvous/introducer.ts';
import {
  factToWire,
  type Member,
  type MemberFact,
  memberToWire,
} from '../../src/rendezvous/member.ts';
import type { Membership, MembershipInput } from '../../src/rendezvous/membership.ts';
import { type DeskEffect, PeerDesk } from '../../src/rendezvous/peer-desk.ts';
import type { PeerTable } from '../../src/rendezvous/peer-table.ts';
import type { ReplicationEffect, ReplicationSession } from '../../src/rendezvous/replication.ts';
import { ReplicationFrame } from '../../src/rpc/generated/chatty/v1/replication.ts';
import { ServerToPeer } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import {
  type Network,
  Program,
  type Request,
  type Response,
  type WireEnd,
} from './cluster-network.ts';
import type { Parts } from './cluster-parts.ts';

/** As the registrar, the replication service and the server itself have them. */
const RESOLVE_EVERY_MS = 10_000;
const RENEW_EVERY_MS = 5_000;
const REGISTER_RETRY = { initialMs: 250, maxMs: RENEW_EVERY_MS };
const REGISTER_WITHIN_MS = 3_000;
const DEREGISTER_WITHIN_MS = 1_000;
const TELL_WITHIN_MS = 2_000;
const DIAL_WITHIN_MS = 5_000;
const DRAIN_MS = 10_000;
const GOODBYE_MS = 500;
const GENEROUS = { maxPeers: 1_000, peersPerSource: 1_000, registrationsPerMinute: 100_000 };

/** Who a peer's connection is from: what TLS proves, and where its packets come from. */
export interface PeerIdentity {
  readonly key: string;
  readonly host: string;
}

/** What the world wants to know of its servers. */
export interface ServerWatch {
  identify(peer: Program): PeerIdentity | undefined;
  /** The addresses behind the name of the load balancers. */
  balancers(): readonly string[];
  serves(server: SimServer): void;
  purges(server: SimServer, owner: string): void;
  unlinked(server: SimServer, id: string, reason: string): void;
}

interface Link {
  readonly session: ReplicationSession;
  readonly end: WireEnd;
  readonly wanted: Member | undefined;
  timer: Timer | undefined;
  over: boolean;
}

interface Registering {
  unlisted: number;
  timer: Timer | undefined;
  /** Counts the calls, so that an answer to one before is told from the last. */
  call: number;
}

/** A rendezvous server: its pure parts, and what its shells do. */
export class SimServer extends Program {
  readonly id: string;
  member: Member;
  readonly table: PeerTable;
  readonly introducer: Introducer;
  readonly membership: Membership;
  readonly desk: PeerDesk;
  servingSince: number | undefined;
  drainingSince: number | undefined;
  /** Percent of the batches of updates it sends that never arrive, though the stream goes on. */
  losesUpdates = 0;
  readonly #parts: Parts;
  readonly #watch: ServerWatch;
  readonly #links = new Set<Link>();
  readonly #byMember = new Map<string, Link>();
  readonly #peers = new Map<number, WireEnd>();
  readonly #registering = new Map<string, Registering>();
  /** What is still to be told, by whom. */
  readonly #untold = new Map<string, Map<string, MemberFact>>();
  #lastConnection = 0;
  #lastPort = 50_051;
  #timer: Timer | undefined;
  #deskTimer: Timer | undefined;
  #flushing = false;
  #stopped = false;

  constructor(
    network: Network,
    options: {
      readonly label: string;
      readonly place: string;
      /** How far the calendar of its computer is off. */
      readonly calendarMs: number;
      readonly parts: Parts;
      readonly watch: ServerWatch;
    },
  ) {
    const { label, place, calendarMs, parts, watch } = options;
    super(network, label, place);
    this.#parts = parts;
    this.#watch = watch;
    this.calendarMs = calendarMs + network.random.below(200) - 100;
    this.id = Buffer.from(network.random.bytes(16)).toString('hex');
    this.table = parts.table();
    this.introducer = new Introducer(this.id, this.table);
    this.membership = parts.membership(this.id, network.random);
    this.desk = new PeerDesk({
      serverId: this.id,
      introducer: this.introducer,
      checkCookie: () => undefined,
      admission: new Admission(GENEROUS),
    });
    this.member = {
      id: this.id,
      incarnation: Math.max(1, Math.round(this.wallClock())),
      peerAddresses: [{ host: place, port: 4433 }],
      clusterAddresses: [{ host: place, port: this.#lastPort }],
      certificate: new Uint8Array(),
    };
    this.say(`STARTS as ${this.id.slice(0, 4)} at ${place}`);
    network.listen(`${place}:4433`, this);
    network.listen(`${place}:${this.#lastPort}`, this);
    this.#resolve();
  }

  moment(): Moment {
    return { now: this.now(), wallClock: this.wallClock() };
  }

  /** Whether peers may be sent here. */
  get serving(): boolean {
    return this.alive && this.servingSince !== undefined && !this.draining;
  }

  get draining(): boolean {
    return this.drainingSince !== undefined;
  }

  linkedTo(id: string): boolean {
    return this.#byMember.has(id);
  }

  /** Its cluster port changes; who is connected stays so. */
  readdress(): void {
    this.network.release(this, `${this.place}:${this.#lastPort}`);
    this.#lastPort += 1;
    this.say(`MOVES to port ${this.#lastPort}`);
    this.network.listen(`${this.place}:${this.#lastPort}`, this);
    this.member = {
      ...this.member,
      incarnation: Math.max(this.member.incarnation + 1, Math.round(this.wallClock())),
      clusterAddresses: [{ host: this.place, port: this.#lastPort }],
    };
    for (const link of [...this.#links]) this.#end(link, 'the port has changed');
    this.#renew();
  }

  // --- calls ---

  override receive(request: Request, answer: (response: Response) => void): void {
    switch (request.kind) {
      case 'health':
        answer({ kind: 'health', healthy: this.serving });
        break;
      case 'probe':
        this.network.call(
          this,
          request.address,
          { kind: 'health' },
          request.deadlineMs,
          (response) =>
            answer({ kind: 'health', healthy: response.kind === 'health' && response.healthy }),
        );
        break;
      case 'notify': {
        const { facts, spread } = request;
        this.#step({ type: 'notified', facts });
        answer({ kind: 'done' });
        if (!spread) break;
        const about = new Set(facts.map(({ member }) => member.id));
        for (const other of this.membership.others()) {
          if (!about.has(other.id) || about.size > 1) this.#tell(other, facts);
        }
        break;
      }
      default:
        answer({ kind: 'error' });
    }
  }

  #tell(member: Member, facts: readonly MemberFact[]): void {
    const waiting = this.#untold.get(member.id);
    const untold = waiting ?? new Map<string, MemberFact>();
    for (const fact of facts) untold.set(fact.member.id, fact);
    if (waiting !== undefined) return;
    this.#untold.set(member.id, untold);
    const next = (): void => {
      if (untold.size === 0) {
        this.#untold.delete(member.id);
        return;
      }
      const request: Request = { kind: 'notify', facts: [...untold.values()], spread: false };
      untold.clear();
      this.network.call(this, clusterAddress(member), request, TELL_WITHIN_MS, next);
    };
    next();
  }

  // --- registration with the load balancers ---

  #resolve(): void {
    if (this.draining) return;
    const balancers = this.#watch.balancers();
    for (const [balancer, { timer }] of [...this.#registering]) {
      if (balancers.includes(balancer)) continue;
      timer?.cancel();
      this.#registering.delete(balancer);
    }
    this.#step({ type: 'balancers', balancers });
    for (const balancer of balancers) {
      if (this.#registering.has(balancer)) continue;
      this.#registering.set(balancer, { unlisted: 0, timer: undefined, call: 0 });
      this.#register(balancer);
    }
    this.setTimer(RESOLVE_EVERY_MS, () => this.#resolve());
  }

  #renew(): void {
    for (const [balancer, registering] of this.#registering) {
      // One that is being asked is asked again at once.
      if (registering.timer === undefined) continue;
      registering.timer.cancel();
      this.#register(balancer);
    }
  }

  #register(balancer: string): void {
    const registering = this.#registering.get(balancer);
    if (registering === undefined || this.draining) return;
    registering.timer = undefined;
    registering.call += 1;
    const { call } = registering;
    const { incarnation } = this.member;
    const request: Request = { kind: 'register', member: this.member };
    this.network.call(this, balancer, request, REGISTER_WITHIN_MS, (response) => {
      if (this.#registering.get(balancer)?.call !== call || this.draining) return;
      const listed = response.kind === 'registered' && response.listed;
      if (response.kind === 'registered') {
        this.#step({ type: 'registered', balancer, members: response.members });
      } else this.#step({ type: 'registration-failed', balancer });
      registering.unlisted = listed ? 0 : registering.unlisted + 1;
      const changed = this.member.incarnation !== incarnation;
      const delayMs = changed
        ? 0
        : listed
          ? RENEW_EVERY_MS
          : backoffDelayMs(registering.unlisted, REGISTER_RETRY, this.network.random);
      registering.timer = this.setTimer(delayMs, () => this.#register(balancer));
    });
  }

  // --- membership ---

  #step(input: MembershipInput): void {
    if (!this.alive) return;
    for (const effect of this.membership.step(input, this.now())) {
      if (this.#stopped) break;
      switch (effect.type) {
        case 'dial':
          this.#dial(effect.member);
          break;
        case 'nudge':
          this.#tell(effect.member, [{ member: this.member, standing: 'alive' }]);
          break;
        case 'purge':
          this.say(`purges ${effect.id.slice(0, 4)}`);
          this.#watch.purges(this, effect.id);
          this.#introduced(this.introducer.purge(effect.id, this.moment()));
          break;
        case 'serve':
          if (this.draining) break;
          this.say('SERVES');
          this.servingSince = this.now();
          this.desk.serve();
          this.#watch.serves(this);
          this.#renew();
          break;
      }
    }
    this.#timer?.cancel();
    const at = this.membership.nextDeadline(this.now());
    if (at === undefined || this.#stopped) return;
    this.#timer = this.setTimer(at - this.now(), () => this.#step({ type: 'tick' }));
  }

  // --- streams to other servers ---

  #dial(member: Member): void {
    this.network.open(this, clusterAddress(member), 'tcp', DIAL_WITHIN_MS, {
      opened: (end) => this.#open(end, member),
      failed: () => this.#step({ type: 'unlinked', id: member.id }),
    });
  }

  override accept(end: WireEnd): void {
    const { program: caller } = end.other ?? {};
    if (caller instanceof SimServer) {
      if (this.#stopped) end.close();
      else this.#open(end, undefined);
      return;
    }
    const identity = caller === undefined ? undefined : this.#watch.identify(caller);
    if (identity === undefined) end.close();
    else this.#acceptPeer(end, identity);
  }

  #open(end: WireEnd, wanted: Member | undefined): void {
    const session = this.#parts.replication(
      {
        hello: () => ({
          protocol: OWN_PROTOCOL,
          member: memberToWire(this.member),
          members: this.membership.facts().map(factToWire),
          relaySecret: Buffer.alloc(0),
        }),
        snapshot: () => this.introducer.snapshot(),
        seq: () => this.introducer.seq,
        ownDigest: () => this.table.digestOf(this.id),
        digestOf: (owner) => this.table.digestOf(owner),
        unreachable: () => this.membership.unreachable(this.now()),
      },
      this.now(),
      wanted?.id,
    );
    const link: Link = { session, end, wanted, timer: undefined, over: false };
    this.#links.add(link);
    end.onFrame = (bytes) => {
      if (link.over) return;
      this.#apply(link, session.receive(ReplicationFrame.decode(bytes), this.now()));
      this.#flushSoon();
    };
    end.onClose = (reason) => this.#end(link, reason);
    this.#flush(link);
  }

  #apply(link: Link, effects: readonly ReplicationEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'close') {
        this.#end(link, effect.reason);
        return;
      }
      if (effect.type === 'linked' && !this.#identify(link, effect.member)) return;
    }
    const owner = link.session.other?.id;
    if (owner === undefined) return;
    for (const effect of effects) {
      if (effect.type === 'linked') {
        this.#step({ type: 'linked', member: effect.member });
        this.#step({ type: 'hearsay', facts: effect.facts });
      } else if (effect.type === 'reach') {
        this.#step({ type: 'reach', from: owner, unreachable: effect.unreachable });
      } else this.#introduced(this.#replicated(owner, effect));
    }
    if (effects.some(({ type }) => type === 'retain')) this.#step({ type: 'snapshot', id: owner });
  }

  #replicated(owner: string, effect: ReplicationEffect): readonly IntroducerEffect[] {
    const at = this.moment();
    if (effect.type === 'upsert') return this.introducer.upsertRemote(effect.record, at);
    if (effect.type === 'remove') return this.introducer.removeRemote(owner, effect.key, at);
    return effect.type === 'retain' ? this.introducer.retainRemote(owner, effect.records, at) : [];
  }

  /** @returns whether the link goes on. */
  #identify(link: Link, member: Member): boolean {
    const { wanted } = link;
    if (wanted !== undefined && wanted.id !== member.id) {
      this.#end(link, 'another server has its address');
      this.#step({ type: 'notified', facts: [{ member: wanted, standing: 'removed' }] });
      return false;
    }
    const before = this.#byMember.get(member.id);
    this.#byMember.set(member.id, link);
    this.say(`is linked to ${member.id.slice(0, 4)}`);
    if (before !== undefined) this.#end(before, 'there is a newer one');
    return true;
  }

  #end(link: Link, reason: string): void {
    if (link.over) return;
    link.over = true;
    link.timer?.cancel();
    this.#links.delete(link);
    link.end.close();
    const { session, wanted } = link;
    const id = session.other?.id;
    if (id !== undefined && this.#byMember.get(id) === link) {
      this.say(`has lost ${id.slice(0, 4)}: ${reason}`);
      this.#byMember.delete(id);
      this.#watch.unlinked(this, id, reason);
      this.#step({ type: 'unlinked', id, lastHeardAt: session.lastHeardAt });
    } else if (wanted !== undefined && !this.#byMember.has(wanted.id)) {
      this.#step({ type: 'unlinked', id: wanted.id });
    }
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.setTimer(0, () => {
      this.#flushing = false;
      for (const link of [...this.#links]) this.#flush(link);
    });
  }

  #flush(link: Link): void {
    if (link.over) return;
    for (let frame; (frame = link.session.next(this.now())) !== undefined;) {
      const lost = frame.kind?.$case === 'updates' && this.network.chance(this.losesUpdates);
      if (lost) this.say('LOSES an update');
      // Through the bytes of the wire, as it is in truth.
      else link.end.send(ReplicationFrame.encode(frame).finish());
    }
    link.timer?.cancel();
    const delayMs = Math.max(20, link.session.nextDeadline() - this.now());
    link.timer = this.setTimer(delayMs, () => {
      this.#apply(link, link.session.tick(this.now()));
      this.#flush(link);
    });
  }

  // --- peers ---

  #acceptPeer(end: WireEnd, { key, host }: PeerIdentity): void {
    this.#lastConnection += 1;
    const connection = this.#lastConnection;
    this.#peers.set(connection, end);
    const at = this.moment();
    this.desk.opened(connection, { key, source: { host, port: 40_000 } }, at);
    end.onFrame = (bytes) => this.#run(this.desk.frame(connection, bytes, this.moment()));
    end.onClose = () => {
      this.#peers.delete(connection);
      this.#run(this.desk.closed(connection, this.moment()));
    };
    this.#armDesk();
  }

  #armDesk(): void {
    this.#deskTimer?.cancel();
    const at = this.desk.nextDeadline();
    if (at === undefined) return;
    this.#deskTimer = this.setTimer(at - this.now(), () => {
      this.#run(this.desk.tick(this.moment()));
      this.#armDesk();
    });
  }

  #introduced(effects: readonly IntroducerEffect[]): void {
    if (effects.length > 0) this.#run(this.desk.introduced(effects));
  }

  #run(effects: readonly DeskEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'send') {
        this.#peers.get(effect.connection)?.send(ServerToPeer.encode(effect.frame).finish());
      } else if (effect.type === 'close') {
        this.#peers.get(effect.connection)?.close();
        this.#peers.delete(effect.connection);
      } else if (effect.type === 'update') {
        for (const { session } of this.#links) session.changed(effect.update);
        this.#flushSoon();
      }
    }
  }

  // --- the end ---

  /** SIGTERM: off every list, tells waiting peers to move, waits for them, and stops. */
  drain(): void {
    if (this.draining || !this.alive) return;
    this.say('DRAINS');
    this.drainingSince = this.now();
    let unanswered = this.#registering.size;
    for (const [balancer, { timer }] of this.#registering) {
      timer?.cancel();
      const { id, incarnation } = this.member;
      const request: Request = { kind: 'deregister', id, incarnation };
      this.network.call(this, balancer, request, DEREGISTER_WITHIN_MS, () => (unanswered -= 1));
    }
    this.#registering.clear();
    this.#step({ type: 'balancers', balancers: [] });
    this.#run(this.desk.drain(DRAIN_MS));
    const until = this.now() + DRAIN_MS;
    const look = (): void => {
      const emptied = this.introducer.registered === 0 || this.now() >= until;
      if (emptied && unanswered === 0) this.#stop();
      else this.setTimer(50, look);
    };
    look();
  }

  #stop(): void {
    this.say('STOPS');
    this.#stopped = true;
    for (const end of this.#peers.values()) end.close();
    for (const link of this.#links) this.#flush(link);
    for (const { end } of this.#links) end.close();
    const facts: MemberFact[] = [{ member: this.member, standing: 'left' }];
    for (const other of this.membership.others()) this.#tell(other, facts);
    this.setTimer(GOODBYE_MS, () => this.die(false));
  }
}

function clusterAddress(member: Member): string {
  const [address] = member.clusterAddresses;
  return address === undefined ? '' : formatAddress(address);
}
