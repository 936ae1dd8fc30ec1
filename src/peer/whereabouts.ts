import { type Address, type Family, familyOf, sameAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { ServerObservation } from '../path/index.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import type { Registration } from './registration.ts';

/** Of a server's addresses, so many are asked how they see this peer. */
const MAX_OBSERVERS = 4;
/** A cookie proves an address for 60 s; until then, and a bit less, it need not be asked for again. */
const COOKIES_SERVE_MS = 45_000;
/** Where something only seems wrong, servers are told no more often than this. */
const DOUBT_EVERY_MS = 3_000;
/** A server that has not answered after so long may never do: far more than any round trip takes. */
const SILENT_AFTER_MS = 1_500;
/** What a hello says may be so old when it is answered: twice what a handshake may take. */
const HELLO_MS = 6_000;
/** A connection that was asked and stays silent is broken off after 3 s: then it is known. */
const SETTLED_AFTER_MS = 3_500;

/** What is needed of a registration. */
export type Informed = Pick<
  Registration,
  'server' | 'remote' | 'tunnel' | 'ping' | 'isAwaited' | 'updateEndpoint'
>;

export interface WhereaboutsOptions<Server extends Informed> {
  readonly clock: Clock;
  readonly families: ReadonlySet<Family>;
  /** Those that stand. */
  standing(): readonly Server[];
  /** Asks an address under which one it sees us; undefined: no answer. */
  observe(remote: Address): Promise<ServerObservation | undefined>;
  /** A server does not answer. */
  silent(server: Server): void;
  /** One that was silent does. */
  heard(server: Server): void;
}

interface Told {
  readonly cookies: readonly Uint8Array[];
  readonly at: number;
}

/**
 * Tells the servers where this peer is. Where a connection comes from they see themselves, if late
 * (a source that is new has to prove itself); that packets arrive elsewhere, they take the cookies of
 * their own STUN answers for.
 */
export class Whereabouts<Server extends Informed> {
  readonly #options: WhereaboutsOptions<Server>;
  readonly #told = new WeakMap<Server, Told>();
  #renewedAt = -Infinity;
  #repeatedAt = -Infinity;
  #timers: Timer[] = [];
  #closed = false;

  constructor(options: WhereaboutsOptions<Server>) {
    this.#options = options;
  }

  /**
   * Learns how a server, which sees where the connection to it comes from, sees this peer at its other
   * addresses, above all those of the other family, and proves it.
   */
  begin(server: Server): Promise<void> {
    const { remote } = server;
    if (remote === undefined) return Promise.resolve();
    // While it was on its way, what its hello says may have become untrue.
    if (this.#options.clock.now() - this.#repeatedAt < HELLO_MS) server.updateEndpoint([]);
    return this.#observe(server, (address) => !sameAddress(address, remote), false);
  }

  /** What this peer says of itself has changed. */
  repeat(): void {
    const now = this.#options.clock.now();
    this.#repeatedAt = now;
    for (const server of this.#options.standing()) {
      const told = this.#told.get(server);
      if (told === undefined || now - told.at < COOKIES_SERVE_MS) {
        server.updateEndpoint(told?.cookies ?? []);
      } else void this.#observe(server, () => true, false);
    }
  }

  /** A friend's path has broken: routers may see this peer, or show it, elsewhere. */
  doubt(): void {
    if (this.#options.clock.now() - this.#renewedAt >= DOUBT_EVERY_MS) this.#renew();
  }

  /** This peer has moved: every server is told at once, and is to show that it is there. */
  move(): void {
    // What was proven of the addresses before holds no more.
    for (const server of this.#options.standing()) server.updateEndpoint([]);
    this.#renew();
  }

  #renew(): void {
    if (this.#closed) return;
    const { clock } = this.#options;
    this.#renewedAt = clock.now();
    const asked = this.#options.standing();
    for (const server of asked) {
      server.ping();
      void this.#observe(server, () => true, true);
    }
    for (const timer of this.#timers) timer.cancel();
    const still = (): readonly Server[] =>
      this.#options.standing().filter((each) => asked.includes(each));
    this.#timers = [
      clock.setTimer(SILENT_AFTER_MS, () => {
        // After a stall of ours the answers may be here already, not yet read from the socket.
        setImmediate(() => {
          if (this.#closed) return;
          for (const server of still()) if (server.isAwaited) this.#options.silent(server);
        });
      }),
      clock.setTimer(SETTLED_AFTER_MS, () => {
        for (const server of still()) if (!server.isAwaited) this.#options.heard(server);
      }),
    ];
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
  }

  /**
   * @param hurry whether friends may wait for it: the server is told with the first answer already, and
   * again with all.
   */
  async #observe(
    server: Server,
    wanted: (address: Address) => boolean,
    hurry: boolean,
  ): Promise<void> {
    const { clock, families } = this.#options;
    // Where only tunnels get through, no packet arrives at any address of ours.
    if (server.tunnel !== undefined) return;
    const addresses = addressesFromWire(server.server.addresses, MAX_OBSERVERS).filter(
      (address) => families.has(familyOf(address)) && wanted(address),
    );
    const at = clock.now();
    const cookies: Uint8Array[] = [];
    let told = 0;
    const tell = (): void => {
      if (this.#closed || cookies.length === told) return;
      // An answer to an older question says less.
      if ((this.#told.get(server)?.at ?? at) > at) return;
      told = cookies.length;
      this.#told.set(server, { cookies, at });
      server.updateEndpoint(cookies);
    };
    const all = addresses.map(async (address) => {
      const observation = await this.#options.observe(address);
      if (observation === undefined) return;
      cookies.push(observation.cookie);
      if (hurry && told === 0) tell();
    });
    await Promise.all(all);
    tell();
  }
}
