import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import type { Registration } from './registration.ts';

/** The first packets may only have got lost; a network that lets none through seldom changes its mind. */
const ASK_AFTER_MS = [1_000, 3_000, 8_000, 20_000] as const;
const ASK_EVERY_MS = 60_000;
/** Of one server, so many addresses are asked. */
const MAX_ADDRESSES = 4;

/** What is needed of a registration. */
type Tunnelled = Pick<Registration, 'server'>;

export interface UdpReturnOptions<Line extends Tunnelled> {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Whether the registration still stands, and by tunnel. */
  stands(registration: Line): boolean;
  /** Asks an address under which one it sees us; undefined: no answer. */
  observe(remote: Address): Promise<unknown>;
  /** Its server answers UDP: it may be registered on anew. */
  answered(registration: Line): void;
}

/**
 * Asks the servers that only a tunnel led to, whether UDP reaches them by now: a tunnel costs what is
 * best about Chatty.
 */
export class UdpReturn<Line extends Tunnelled> {
  readonly #options: UdpReturnOptions<Line>;

  constructor(options: UdpReturnOptions<Line>) {
    this.#options = options;
  }

  /** Goes on until the registration is over, or is one by UDP. Never throws. */
  async watch(registration: Line): Promise<void> {
    const options = this.#options;
    const addresses = addressesFromWire(registration.server.addresses, MAX_ADDRESSES);
    for (let attempt = 0; ; attempt++) {
      try {
        await options.clock.sleep(ASK_AFTER_MS[attempt] ?? ASK_EVERY_MS, options.signal);
      } catch {
        return;
      }
      if (!options.stands(registration)) return;
      const answers = await Promise.all(addresses.map((address) => options.observe(address)));
      if (!options.stands(registration)) return;
      if (answers.some((answer) => answer !== undefined)) options.answered(registration);
    }
  }
}
