import type { Address } from '../base/address.ts';
import { createSelfSigned } from '../base/certificate.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { reasonOf } from '../base/errors.ts';
import type { Identity } from '../base/identity.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { RENDEZVOUS_NAME } from '../base/role-names.ts';
import { ServerToPeer } from '../rpc/generated/chatty/v1/rendezvous.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import { advertised, resolveAll } from './addresses.ts';
import { Admission } from './admission.ts';
import { Cluster } from './cluster.ts';
import { Introducer, type IntroducerEffect, type Moment } from './introducer.ts';
import { NameHash } from './name-hash.ts';
import { type DeskEffect, type DeskEvent, PeerDesk } from './peer-desk.ts';
import { PeerPort, type PeerPortStats } from './peer-port.ts';
import type { MemberState } from './membership.ts';
import type { ReplicationEffect } from './replication.ts';
import { ReplicatedTable } from './replicated-table.ts';
import type { RelayStats } from './relay-table.ts';
import { Relays } from './relays.ts';
import { DEFAULT_SETTINGS, type RendezvousSettings } from './settings.ts';

/** Told of what happens, for figures. Calls cost nothing and never throw. */
export interface RendezvousObserver {
  /** A peer was told of a friend, so long after the two had named each other. */
  introduced(afterMs: number): void;
  /** Another server's changes were heard, so long after the first of them was made. */
  heard(afterMs: number): void;
}

/** Gauges of now and counters since the start. */
export interface RendezvousStats {
  /** Peers registered here. */
  readonly waiting: number;
  /** Records of the table: all servers' peers. */
  readonly records: number;
  /** Other servers. */
  readonly members: Readonly<Record<MemberState, number>>;
  /** Registrations asked for, by what came of them: `accepted`, or why not. */
  readonly registrations: Readonly<Record<string, number>>;
  readonly port: PeerPortStats;
  /** Undefined: nothing is relayed here. */
  readonly relay: RelayStats | undefined;
}

export interface RendezvousServerOptions {
  /** Where peers are served (UDP); port 0: any. */
  readonly listen: readonly Address[];
  /** Where load balancers and other servers are served (TCP); port 0: any. */
  readonly clusterListen: readonly Address[];
  /** What peers are told; default: where they are served. */
  readonly advertise?: readonly Address[] | undefined;
  /**
   * What load balancers and servers are told; default: the listening addresses, of which an
   * unspecified one stands for the address the registration comes from.
   */
  readonly clusterAdvertise?: readonly Address[] | undefined;
  /** Cluster addresses of load balancers: `HOST:PORT` or `dns:///name:port`. */
  readonly loadBalancers: readonly string[];
  readonly tls: ClusterTls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings?: Partial<RendezvousSettings> | undefined;
  readonly observer?: RendezvousObserver | undefined;
}

/** So many more may connect than are registered: who is one too many is told so, not left in the dark. */
const SPARE_CONNECTIONS = 1_000;
/** The same from one source prefix. */
const SPARE_PER_SOURCE = 100;
/** A tunnel takes some 150 KB, five times what UDP does; few networks block UDP. */
const TUNNELS = { total: 8_192, perSource: 1_024 };

const NO_PORT: PeerPortStats = {
  handshakes: { completed: 0, failed: 0 },
  dropped: { junk: 0, unknown: 0, invalid: 0, refused: 0, limit: 0, path: 0 },
  tunnels: { open: 0, dropped: 0 },
};

/**
 * A rendezvous server: registers peers over QUIC, shares what it knows with the other servers, and
 * tells two peers of each other once each has named the other. Its state is in memory only.
 */
export class RendezvousServer {
  /** Made at start; 32 hexadecimal digits. */
  readonly id: string;
  /** Resolves once it serves and, where there are load balancers, one of them lists it. */
  readonly ready: Promise<void>;
  readonly #options: RendezvousServerOptions;
  readonly #settings: RendezvousSettings;
  readonly #table: ReplicatedTable;
  readonly #introducer: Introducer;
  readonly #desk: PeerDesk;
  readonly #names: NameHash;
  readonly #relays: Relays;
  readonly #registrations: Record<string, number> = { accepted: 0 };
  #port: PeerPort | undefined;
  #cluster: Cluster | undefined;
  #deskTimer: Timer | undefined;
  #deskTimerAt = Infinity;
  #becomeReady: () => void = () => undefined;
  #emptied: (() => void) | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(id: string, options: RendezvousServerOptions) {
    this.id = id;
    this.#options = options;
    this.#settings = { ...DEFAULT_SETTINGS, ...options.settings };
    const { maxRecords, namesPerKey, relay } = this.#settings;
    this.#table = new ReplicatedTable({ records: maxRecords });
    this.#relays = new Relays({
      ...{ clock: options.clock, random: options.random, table: this.#table, limits: relay },
      port: () => this.#port,
    });
    this.#introducer = new Introducer(id, this.#table, {
      namesPerKey,
      canRelay: (server) => this.#relays.servers.canRelay(server),
    });
    this.#names = new NameHash(options.random);
    this.#desk = new PeerDesk({
      serverId: id,
      introducer: this.#introducer,
      checkCookie: (cookie, now) => this.#port?.checkCookie(cookie, now),
      admission: new Admission(this.#settings),
      relays: this.#relays.servers,
    });
    this.ready = new Promise((resolve) => {
      this.#becomeReady = resolve;
    });
  }

  /**
   * Resolves once both planes are listened on; peers are served from when `ready` resolves.
   * @throws ChattyError CHATTY_PORT_IN_USE, CHATTY_CONFIG, CHATTY_PLATFORM.
   */
  static async start(options: RendezvousServerOptions): Promise<RendezvousServer> {
    const id = Buffer.from(options.random.bytes(16)).toString('hex');
    const server = new RendezvousServer(id, options);
    try {
      await server.#open();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Where peers are served, with the ports really bound. */
  get peerAddresses(): readonly Address[] {
    return this.#port?.addresses ?? [];
  }

  get clusterAddresses(): readonly Address[] {
    return this.#cluster?.addresses ?? [];
  }

  /** How many peers are registered here, and how many records all servers have together. */
  get counts(): { readonly registered: number; readonly records: number } {
    return { registered: this.#introducer.registered, records: this.#table.size };
  }

  /** Equal on servers that hold the same records; 64 bits. */
  get tableChecksum(): bigint {
    return this.#table.checksum;
  }

  get stats(): RendezvousStats {
    return {
      waiting: this.#introducer.registered,
      records: this.#table.size,
      members: this.#cluster?.members ?? { linked: 0, broken: 0, removed: 0, left: 0 },
      registrations: { ...this.#registrations },
      port: this.#port?.stats ?? NO_PORT,
      relay: this.#relays.stats,
    };
  }

  /**
   * Leaves without anybody noticing: off every load balancer's list, tells waiting peers to move,
   * and stops when they have, after `drainMs`, or when `hurry` aborts.
   */
  async drain(hurry?: AbortSignal): Promise<void> {
    const { drainMs } = this.#settings;
    const { clock } = this.#options;
    const waited = new AbortController();
    const until = AbortSignal.any(hurry === undefined ? [waited.signal] : [waited.signal, hurry]);
    const emptied = new Promise<void>((resolve) => {
      this.#emptied = resolve;
    });
    const leaving = this.#cluster?.leave();
    this.#run(this.#desk.drain(drainMs));
    this.#noticeEmpty();
    const timeout = clock.sleep(drainMs, until).catch(() => undefined);
    await Promise.race([emptied, timeout]);
    waited.abort();
    await leaving;
    await this.stop();
  }

  /** Closes everything at once. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#deskTimer?.cancel();
    this.#relays.stop();
    await this.#port?.close();
    await this.#cluster?.stop();
  }

  async #open(): Promise<void> {
    const { clock } = this.#options;
    const [identity, listen, peerNames, clusterNames] = await Promise.all([
      createSelfSigned(RENDEZVOUS_NAME),
      resolveAll(this.#options.listen),
      resolveAll(this.#options.advertise ?? []),
      resolveAll(this.#options.clusterAdvertise ?? []),
    ]);
    const port = await this.#openPort(listen, identity);
    this.#port = port;
    const cluster = await this.#openCluster();
    this.#cluster = cluster;
    const peerAddresses = advertised(peerNames, port.addresses);
    this.#relays.servers.know(this.id, this.#relays.secret, peerAddresses);
    cluster.join({
      id: this.id,
      incarnation: Math.max(1, Math.round(clock.wallClock())),
      peerAddresses,
      clusterAddresses: advertised(clusterNames, cluster.addresses),
      certificate: identity.certDer,
    });
  }

  #openPort(listen: readonly Address[], identity: Identity): Promise<PeerPort> {
    const { clock, random, logger } = this.#options;
    const { maxPeers, peersPerSource, quic } = this.#settings;
    const desk = this.#desk;
    return PeerPort.open({
      ...{ listen, identity, clock, random },
      limits: {
        maxConnections: maxPeers + SPARE_CONNECTIONS,
        maxConnectionsPerPrefix: peersPerSource + SPARE_PER_SOURCE,
        ...quic,
      },
      tunnelLimits: TUNNELS,
      handlers: {
        opened: (connection, sighting) => {
          desk.opened(connection, sighting, this.#moment());
          this.#armDesk();
        },
        frame: (connection, bytes) => this.#run(desk.frame(connection, bytes, this.#moment())),
        garbled: (connection) => this.#run(desk.garbled(connection, this.#moment())),
        sighted: (connection, source) =>
          this.#run(desk.sighted(connection, source, this.#moment())),
        closed: (connection) => {
          this.#run(desk.closed(connection, this.#moment()));
          this.#noticeEmpty();
        },
        relay: (datagram, from) => this.#relays.receive(datagram, from),
        failed: (error) =>
          logger.error('failed over what a peer sent', { reason: reasonOf(error) }),
      },
    });
  }

  #openCluster(): Promise<Cluster> {
    const { clusterListen, loadBalancers, tls, clock, random, logger } = this.#options;
    return Cluster.listen({
      ...{ selfId: this.id, listen: clusterListen, loadBalancers, tls, clock, random, logger },
      relaySecret: this.#relays.secret,
      table: {
        snapshot: () => this.#introducer.snapshot(),
        seq: () => this.#introducer.seq,
        ownDigest: () => this.#table.digestOf(this.id),
        digestOf: (owner) => this.#table.digestOf(owner),
      },
      handlers: {
        replicated: (owner, effects) => {
          for (const effect of effects) this.#introduced(this.#replicated(owner, effect));
        },
        doubted: (owner) => this.#run(this.#desk.doubt(owner, this.#moment())),
        purge: (owner) => {
          this.#introduced(this.#introducer.purge(owner, this.#moment()));
          this.#relays.servers.forget(owner);
        },
        serve: () => {
          logger.info('serving', { server: this.id });
          this.#desk.serve();
        },
        members: (members) => this.#relays.servers.locate(members),
        listed: () => this.#becomeReady(),
      },
    });
  }

  #replicated(owner: string, effect: ReplicationEffect): readonly IntroducerEffect[] {
    switch (effect.type) {
      case 'linked':
        this.#relays.servers.know(owner, effect.relaySecret, effect.member.peerAddresses);
        return [];
      case 'upsert':
        return this.#introducer.upsertRemote(effect.record, this.#moment());
      case 'remove':
        return this.#introducer.removeRemote(owner, effect.key, this.#moment());
      case 'retain':
        return this.#introducer.retainRemote(owner, effect.records, this.#moment());
      case 'flight':
        this.#run(this.#desk.passed(owner, effect.from, effect.flight, this.#moment()));
        return [];
      case 'heard':
        this.#options.observer?.heard(this.#since(effect.firstMadeAt));
        return [];
      default:
        return [];
    }
  }

  #introduced(effects: readonly IntroducerEffect[]): void {
    if (effects.length > 0) this.#run(this.#desk.introduced(effects, this.#moment()));
  }

  #run(effects: readonly DeskEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          this.#port?.send(effect.connection, ServerToPeer.encode(effect.frame).finish());
          break;
        case 'close':
          this.#options.logger.debug('closing a peer’s connection', { reason: effect.reason });
          this.#port?.finish(effect.connection, effect.reason);
          break;
        case 'update':
          this.#cluster?.changed(effect.update);
          break;
        case 'relay':
          this.#relays.open(effect.own, effect.friend, effect.connection);
          break;
        case 'pass':
          for (const server of effect.servers) {
            this.#cluster?.pass(server, effect.from, effect.flight);
          }
          break;
        case 'note':
          this.#note(effect.event, effect.name);
          break;
        case 'introduced':
          this.#options.observer?.introduced(this.#since(effect.namedAt));
          break;
      }
    }
  }

  #note(event: DeskEvent, name: string): void {
    const { logger } = this.#options;
    const fields = { peer: this.#names.of(name) };
    if (event !== 'left') {
      const result = event === 'registered' ? 'accepted' : event.slice('refused: '.length);
      this.#registrations[result] = (this.#registrations[result] ?? 0) + 1;
    }
    // Comings and goings are the daily business, refusals are what people ask about.
    if (event.startsWith('refused')) logger.info(`peer ${event}`, fields);
    else logger.debug(`peer ${event}`, fields);
  }

  #noticeEmpty(): void {
    if (this.#introducer.registered === 0) this.#emptied?.();
  }

  /** How long ago something was by the calendar; another server's may be ahead of this one's. */
  #since(wallClock: number): number {
    return Math.max(0, this.#options.clock.wallClock() - wallClock);
  }

  #moment(): Moment {
    const { clock } = this.#options;
    return { now: clock.now(), wallClock: clock.wallClock() };
  }

  #armDesk(): void {
    const at = this.#desk.nextDeadline();
    if (at === undefined || at >= this.#deskTimerAt) return;
    this.#deskTimer?.cancel();
    this.#deskTimerAt = at;
    const delayMs = at - this.#options.clock.now();
    this.#deskTimer = this.#options.clock.setTimer(delayMs, () => {
      this.#deskTimerAt = Infinity;
      this.#run(this.#desk.tick(this.#moment()));
      this.#armDesk();
    });
  }
}
