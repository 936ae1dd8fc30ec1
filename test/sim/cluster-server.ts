import type { Timer } from '../../src/base/clock.ts';
import { Admission } from '../../src/rendezvous/admission.ts';
import { Introducer, type IntroducerEffect, type Moment } from '../../src/rendezvous/introducer.ts';
import type { Member, MemberFact } from '../../src/rendezvous/member.ts';
import type { Membership, MembershipInput } from '../../src/rendezvous/membership.ts';
import { type DeskEffect, PeerDesk } from '../../src/rendezvous/peer-desk.ts';
import type { PeerTable } from '../../src/rendezvous/peer-table.ts';
import { RelayServers } from '../../src/rendezvous/relay-servers.ts';
import type { ReplicationEffect } from '../../src/rendezvous/replication.ts';
import { ServerToPeer } from '../../src/rpc/generated/chatty/v1/rendezvous.ts';
import { clusterAddress, SimLinks } from './cluster-links.ts';
import type { Network } from './cluster-network.ts';
import type { Parts } from './cluster-parts.ts';
import { Program, type Request, type Response } from './cluster-program.ts';
import { SimRegistrar } from './cluster-registrar.ts';
import type { WireEnd } from './cluster-wire.ts';

/** As the membership service and the server itself have them. */
const TELL_WITHIN_MS = 2_000;
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
  readonly #watch: ServerWatch;
  readonly #relays = new RelayServers();
  readonly #links: SimLinks;
  readonly #registrar: SimRegistrar;
  readonly #peers = new Map<number, WireEnd>();
  /** What is still to be told, by whom. */
  readonly #untold = new Map<string, Map<string, MemberFact>>();
  #lastConnection = 0;
  #lastPort = 50_051;
  #timer: Timer | undefined;
  #deskTimer: Timer | undefined;
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
    this.#watch = watch;
    this.calendarMs = calendarMs + network.random.below(200) - 100;
    this.id = Buffer.from(network.random.bytes(16)).toString('hex');
    this.table = parts.table();
    this.introducer = new Introducer(this.id, this.table, {
      canRelay: (server) => this.#relays.canRelay(server),
    });
    this.membership = parts.membership(this.id, network.random);
    this.desk = new PeerDesk({
      serverId: this.id,
      introducer: this.introducer,
      checkCookie: () => undefined,
      admission: new Admission(GENEROUS),
      relays: this.#relays,
    });
    this.member = {
      id: this.id,
      incarnation: Math.max(1, Math.round(this.wallClock())),
      peerAddresses: [{ host: place, port: 4433 }],
      clusterAddresses: [{ host: place, port: this.#lastPort }],
      certificate: new Uint8Array(),
    };
    this.#relays.know(this.id, this.relaySecret, this.member.peerAddresses);
    this.say(`STARTS as ${this.id.slice(0, 4)} at ${place}`);
    network.listen(`${place}:4433`, this);
    network.listen(`${place}:${this.#lastPort}`, this);
    const step = (input: MembershipInput): void => this.#step(input);
    this.#links = new SimLinks(this, parts.replication, {
      effects: (owner, effects) => this.#replicated(owner, effects),
      displaced: (other) =>
        step({ type: 'notified', facts: [{ member: other, standing: 'removed' }] }),
      unlinked: (id, lastHeardAt, reason) => {
        if (lastHeardAt === undefined) step({ type: 'unlinked', id });
        else {
          watch.unlinked(this, id, reason);
          if (!this.#stopped) this.#run(this.desk.doubt(id, this.moment()));
          step({ type: 'unlinked', id, lastHeardAt });
        }
      },
    });
    this.#registrar = new SimRegistrar(this, () => watch.balancers(), step);
    this.#registrar.resolve();
  }

  /** As unlike others' as its id. */
  get relaySecret(): Buffer {
    return Buffer.from(this.id + this.id, 'hex');
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
    return this.#links.has(id);
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
    this.#links.endAll('the port has changed');
    this.#registrar.renew();
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

  // --- membership ---

  #step(input: MembershipInput): void {
    if (!this.alive) return;
    for (const effect of this.membership.step(input, this.now())) {
      if (this.#stopped) break;
      switch (effect.type) {
        case 'dial':
          this.#links.dial(effect.member);
          break;
        case 'nudge':
          this.#tell(effect.member, [{ member: this.member, standing: 'alive' }]);
          break;
        case 'purge':
          this.say(`purges ${effect.id.slice(0, 4)}`);
          this.#watch.purges(this, effect.id);
          this.#introduced(this.introducer.purge(effect.id, this.moment()));
          this.#relays.forget(effect.id);
          break;
        case 'serve':
          if (this.draining) break;
          this.say('SERVES');
          this.servingSince = this.now();
          this.desk.serve();
          this.#watch.serves(this);
          this.#registrar.renew();
          break;
      }
    }
    this.#timer?.cancel();
    const at = this.membership.nextDeadline(this.now());
    if (at === undefined || this.#stopped) return;
    this.#timer = this.setTimer(at - this.now(), () => this.#step({ type: 'tick' }));
  }

  // --- streams to other servers ---

  override accept(end: WireEnd): void {
    const { program: caller } = end.other ?? {};
    if (caller instanceof SimServer) {
      if (this.#stopped) end.close();
      else this.#links.open(end, undefined);
      return;
    }
    const identity = caller === undefined ? undefined : this.#watch.identify(caller);
    if (identity === undefined) end.close();
    else this.#acceptPeer(end, identity);
  }

  #replicated(owner: string, effects: readonly ReplicationEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'linked') {
        this.#relays.know(owner, effect.relaySecret, effect.member.peerAddresses);
        this.#step({ type: 'linked', member: effect.member });
        this.#step({ type: 'hearsay', facts: effect.facts });
      } else if (effect.type === 'reach') {
        this.#step({ type: 'reach', from: owner, unreachable: effect.unreachable });
      } else this.#introduced(this.#takeIn(owner, effect));
    }
    if (effects.some(({ type }) => type === 'retain')) this.#step({ type: 'snapshot', id: owner });
  }

  #takeIn(owner: string, effect: ReplicationEffect): readonly IntroducerEffect[] {
    const at = this.moment();
    if (effect.type === 'upsert') return this.introducer.upsertRemote(effect.record, at);
    if (effect.type === 'remove') return this.introducer.removeRemote(owner, effect.key, at);
    return effect.type === 'retain' ? this.introducer.retainRemote(owner, effect.records, at) : [];
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
    if (effects.length > 0) this.#run(this.desk.introduced(effects, this.moment()));
  }

  #run(effects: readonly DeskEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'send') {
        this.#peers.get(effect.connection)?.send(ServerToPeer.encode(effect.frame).finish());
      } else if (effect.type === 'close') {
        this.#peers.get(effect.connection)?.close();
        this.#peers.delete(effect.connection);
      } else if (effect.type === 'update') {
        this.#links.changed(effect.update);
      }
    }
  }

  // --- the end ---

  /** SIGTERM: off every list, tells waiting peers to move, waits for them, and stops. */
  drain(): void {
    if (this.draining || !this.alive) return;
    this.say('DRAINS');
    this.drainingSince = this.now();
    this.#registrar.leave();
    this.#step({ type: 'balancers', balancers: [] });
    this.#run(this.desk.drain(DRAIN_MS));
    const until = this.now() + DRAIN_MS;
    const look = (): void => {
      const emptied = this.introducer.registered === 0 || this.now() >= until;
      if (emptied && this.#registrar.hasLeft) this.#stop();
      else this.setTimer(50, look);
    };
    look();
  }

  #stop(): void {
    this.say('STOPS');
    this.#stopped = true;
    for (const end of this.#peers.values()) end.close();
    this.#links.stop();
    const facts: MemberFact[] = [{ member: this.member, standing: 'left' }];
    for (const other of this.membership.others()) this.#tell(other, facts);
    this.setTimer(GOODBYE_MS, () => this.die(false));
  }
}
