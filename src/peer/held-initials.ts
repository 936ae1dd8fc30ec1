import { type Address, sameAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';

/** How long an early Initial is kept for its path to be checked. */
const HOLD_MS = 200;
/** How many are kept for each match that is under way. */
const PER_MATCH = 2;

interface Held {
  readonly remote: Address;
  /** The socket of ours that it came to. */
  readonly local: Address;
  readonly datagram: Uint8Array;
  readonly until: number;
}

/**
 * First datagrams of connections that came before the check of the path they came on: the friend's
 * last check may still be on its way. Bounded by the matches under way, and forgotten soon.
 */
export class HeldInitials {
  readonly #clock: Clock;
  #held: Held[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  hold(remote: Address, local: Address, datagram: Uint8Array, matches: number): void {
    const now = this.#clock.now();
    this.#held = this.#held.filter(({ until }) => until > now);
    const same = this.#held.filter((held) => sameAddress(held.remote, remote)).length;
    if (same >= PER_MATCH || this.#held.length >= matches * PER_MATCH) return;
    const until = now + HOLD_MS;
    this.#held.push({ remote, local, datagram: Uint8Array.from(datagram), until });
  }

  /** What is still worth judging again; it is not held any longer. */
  take(): readonly Held[] {
    const now = this.#clock.now();
    const held = this.#held.filter(({ until }) => until > now);
    this.#held = [];
    return held;
  }

  clear(): void {
    this.#held = [];
  }
}
