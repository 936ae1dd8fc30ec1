import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { StunMessage } from '../path/index.ts';

/** How long a check is kept for the match that explains it: servers seldom differ by more. */
const HOLD_MS = 500;
/** The first checks of a few friends, from several addresses each. */
const MAX_HELD = 16;

interface Held {
  readonly username: string;
  readonly message: StunMessage;
  readonly remote: Address;
  readonly until: number;
}

/**
 * Checks of a friend whose match has not arrived yet: its server was faster than ours. Without them
 * the friend would have to check again, and both would lose a retransmission's time. They are judged
 * like any other once the match is there; bounded, and forgotten soon.
 */
export class HeldChecks {
  readonly #clock: Clock;
  #held: Held[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param message kept as it is: the bytes behind it must not change. */
  hold(username: string, message: StunMessage, remote: Address): void {
    const now = this.#clock.now();
    this.#held = this.#held.filter(({ until }) => until > now);
    if (this.#held.length >= MAX_HELD) return;
    this.#held.push({ username, message, remote, until: now + HOLD_MS });
  }

  /** What came under this user name and is still fresh; it is not held any longer. */
  take(username: string): readonly Pick<Held, 'message' | 'remote'>[] {
    const now = this.#clock.now();
    const taken = this.#held.filter((held) => held.username === username && held.until > now);
    this.#held = this.#held.filter((held) => held.username !== username);
    return taken;
  }
}
