import type { Address } from '../base/address.ts';
import { createSelfSigned } from '../base/certificate.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { RENDEZVOUS_NAME } from '../base/role-names.ts';
import type { QuicLimits } from '../quic/index.ts';
import { ServerToPeer } from '../rpc/generated/chatty/v1/rendezvous.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import { Introducer, type Moment } from './introducer.ts';
import { type DeskEffect, PeerDesk } from './peer-desk.ts';
import { PeerPort } from './peer-port.ts';
import { ReplicatedTable } from './replicated-table.ts';

export interface RendezvousSettings {
  /** Peers registered here at once (default 50,000). */
  readonly maxRegistrations: number;
  readonly quic: Partial<QuicLimits>;
}

export interface RendezvousServerOptions {
  /** Where peers are served (UDP). */
  readonly listen: readonly Address[];
  /** Where load balancers and other servers are served (TCP). */
  readonly clusterListen: readonly Address[];
  /** What peers are told; default: where they are served. */
  readonly advertise?: readonly Address[];
  /** What load balancers and servers are told; default: where they are served. */
  readonly clusterAdvertise?: readonly Address[];
  /** Cluster addresses of load balancers: `HOST:PORT` or `dns:///name:port`. */
  readonly loadBalancers: readonly string[];
  readonly tls: ClusterTls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings?: Partial<RendezvousSettings>;
}

const DEFAULT_SETTINGS: RendezvousSettings = { maxRegistrations: 50_000, quic: {} };

/** How long peers have to move elsewhere before a stopping server closes their connections. */
const DRAIN_MS = 10_000;

/** A rendezvous server. */
export class RendezvousServer {
  readonly id: string;
  readonly ready: Promise<void>;
  readonly #options: RendezvousServerOptions;
  readonly #desk: PeerDesk;
  readonly #introducer: Introducer;
  #port: PeerPort | undefined;
  #deskTimer: Timer | undefined;
  #deskTimerAt = Infinity;

  private constructor(id: string, options: RendezvousServerOptions) {
    this.id = id;
    this.#options = options;
    const settings = { ...DEFAULT_SETTINGS, ...options.settings };
    this.#introducer = new Introducer(id, new ReplicatedTable());
    this.#desk = new PeerDesk({
      serverId: id,
      introducer: this.#introducer,
      checkCookie: (cookie, now) => this.#port?.checkCookie(cookie, now),
      maxRegistrations: settings.maxRegistrations,
    });
    this.ready = Promise.resolve();
  }

  /** @throws ChattyError CHATTY_PORT_IN_USE, CHATTY_CONFIG, CHATTY_PLATFORM. */
  static async start(options: RendezvousServerOptions): Promise<RendezvousServer> {
    const id = Buffer.from(options.random.bytes(16)).toString('hex');
    const server = new RendezvousServer(id, options);
    await server.#open();
    return server;
  }

  get peerAddresses(): readonly Address[] {
    return this.#port?.addresses ?? [];
  }

  get clusterAddresses(): readonly Address[] {
    return [];
  }

  async drain(): Promise<void> {
    this.#run(this.#desk.drain(DRAIN_MS));
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#deskTimer?.cancel();
    await this.#port?.close();
  }

  async #open(): Promise<void> {
    const { listen, clock, random } = this.#options;
    const settings = { ...DEFAULT_SETTINGS, ...this.#options.settings };
    const identity = await createSelfSigned(RENDEZVOUS_NAME);
    const desk = this.#desk;
    this.#port = await PeerPort.open({
      listen,
      identity,
      clock,
      random,
      limits: settings.quic,
      handlers: {
        opened: (connection, sighting) => {
          desk.opened(connection, sighting, this.#moment());
          this.#armDesk();
        },
        frame: (connection, bytes) => this.#run(desk.frame(connection, bytes, this.#moment())),
        garbled: (connection) => this.#run(desk.garbled(connection, this.#moment())),
        sighted: (connection, source) =>
          this.#run(desk.sighted(connection, source, this.#moment())),
        closed: (connection) => this.#run(desk.closed(connection, this.#moment())),
      },
    });
  }

  #run(effects: readonly DeskEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          this.#port?.send(effect.connection, ServerToPeer.encode(effect.frame).finish());
          break;
        case 'close':
          this.#port?.finish(effect.connection, effect.reason);
          break;
        case 'update':
          break;
      }
    }
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
