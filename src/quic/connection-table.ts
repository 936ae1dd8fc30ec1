import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { Connection, type ConnectionHost } from './connection.ts';
import type { ConnectionOptions } from './connection-options.ts';
import type { EndpointCounters } from './endpoint-stats.ts';
import { type Farewell, Farewells } from './farewells.ts';
import type { Quiche } from './native.ts';
import { Slab } from './slab.ts';
import type { UdpSockets } from './udp-sockets.ts';

/** What the connections of an endpoint share. */
interface ConnectionTableParts {
  readonly quiche: Quiche;
  readonly clock: Clock;
  readonly random: Random;
  readonly sockets: UdpSockets;
  readonly counters: EndpointCounters;
  /** The longest datagram that any of them sends. */
  readonly maxDatagramBytes: number;
}

/**
 * The live connections of one endpoint, found by their connection IDs, and those that are to have
 * their turn in this turn of the event loop.
 */
export class ConnectionTable implements ConnectionHost {
  readonly quiche: Quiche;
  readonly clock: Clock;
  readonly random: Random;
  readonly slab: Slab;
  readonly #sockets: UdpSockets;
  readonly #counters: EndpointCounters;
  readonly #byId = new Map<string, Connection>();
  readonly #connections = new Set<Connection>();
  readonly #farewells = new Farewells();
  #dirty: Connection[] = [];
  #nextId = 1;
  #closed = false;

  constructor(parts: ConnectionTableParts) {
    this.quiche = parts.quiche;
    this.clock = parts.clock;
    this.random = parts.random;
    this.slab = new Slab(parts.maxDatagramBytes);
    this.#sockets = parts.sockets;
    this.#counters = parts.counters;
  }

  get size(): number {
    return this.#connections.size;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get congested(): boolean {
    return this.#sockets.congested;
  }

  /** The connection that `id` leads to. */
  find(id: string): Connection | undefined {
    return this.#byId.get(id);
  }

  /** A datagram came for an `id` that leads nowhere: if it did once, its peer is told so again. */
  dropUnknown(id: string | undefined): void {
    this.#counters.dropped.unknown += 1;
    if (id !== undefined) this.#farewells.answer(id);
  }

  /** Makes a connection, which has its first turn once it is marked dirty. */
  add(options: Omit<ConnectionOptions, 'id'>): Connection {
    const connection = new Connection(this, { ...options, id: this.#nextId++ });
    this.#connections.add(connection);
    return connection;
  }

  /** Ends every connection. */
  close(code: number, reason: string): void {
    this.#closed = true;
    for (const connection of [...this.#connections]) connection.close(code, reason);
  }

  markDirty(connection: Connection): void {
    if (connection.dirty) return;
    connection.dirty = true;
    if (this.#dirty.push(connection) === 1) setImmediate(() => this.#turn());
  }

  addId(id: string, connection: Connection): void {
    this.#byId.set(id, connection);
  }

  removeId(id: string): void {
    this.#byId.delete(id);
  }

  transmit(datagram: Uint8Array, local: Address, remote: Address): void {
    this.#sockets.transmit(datagram, local, remote);
  }

  withheld(): void {
    this.#counters.withheld += 1;
  }

  gone(connection: Connection, ids: readonly string[], farewell: Farewell | undefined): void {
    if (farewell !== undefined) this.#farewells.remember(ids, farewell);
    this.#connections.delete(connection);
  }

  #turn(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) {
      connection.dirty = false;
      connection.turn();
    }
  }
}
