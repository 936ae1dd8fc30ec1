import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { PeerPort } from './peer-port.ts';
import type { PeerTable } from './peer-table.ts';
import type { RecordKey } from './record.ts';
import type { RelayLimits } from './relay-budget.ts';
import type { RelayLink } from './relay-link.ts';
import { RELAY_SECRET_BYTES, RelayServers } from './relay-servers.ts';
import { type RelayStats, RelayTable } from './relay-table.ts';

export interface RelaysOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly table: PeerTable;
  /** Undefined: nothing is relayed here. */
  readonly limits: RelayLimits | undefined;
  /** Undefined until it is open. */
  readonly port: () => PeerPort | undefined;
}

/** What this server relays, and what it knows of others that do. */
export class Relays {
  /** Empty: nothing is relayed here. */
  readonly secret: Uint8Array;
  readonly servers = new RelayServers();
  readonly #options: RelaysOptions;
  readonly #pairs: RelayTable | undefined;
  #timer: Timer | undefined;

  constructor(options: RelaysOptions) {
    const { clock, random, table, limits, port } = options;
    this.#options = options;
    this.secret = limits === undefined ? new Uint8Array() : random.bytes(RELAY_SECRET_BYTES);
    if (limits === undefined) return;
    this.#pairs = new RelayTable(
      {
        ...{ limits, secret: this.secret, table },
        linkOf: (connection) => port()?.linkOf(connection),
        mintCookie: (source: Address, now) => port()?.mintCookie(source, now) ?? new Uint8Array(),
        checkCookie: (cookie, now) => port()?.checkCookie(cookie, now),
      },
      clock.now(),
    );
  }

  get stats(): RelayStats | undefined {
    return this.#pairs?.stats;
  }

  /** `own`, whose connection here this is, is told of `friend`. */
  open(own: RecordKey, friend: RecordKey, connection: number): void {
    this.#pairs?.open(own, friend, connection, this.#options.clock.now());
    this.#arm();
  }

  /** A datagram with a relay frame's first byte; it is written over. */
  receive(datagram: Uint8Array, from: RelayLink): void {
    const sends = this.#pairs?.receive(datagram, from, this.#options.clock.now()) ?? [];
    for (const send of sends) this.#options.port()?.sendRelayed(send.link, send.datagram);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    const at = this.#pairs?.nextDeadline();
    if (at === undefined || this.#timer !== undefined) return;
    const { clock } = this.#options;
    this.#timer = clock.setTimer(Math.max(0, at - clock.now()), () => {
      this.#timer = undefined;
      this.#pairs?.tick(clock.now());
      this.#arm();
    });
  }
}
