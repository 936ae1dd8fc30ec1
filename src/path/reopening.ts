import { type Address, sameAddress } from '../base/address.ts';
import type { PortGuessInput } from './port-guess.ts';
import type { NatReport } from './port-prediction.ts';

/** Ordinary checks have found whatever they can after so long: two round trips of 150 ms. */
const HEAD_START_MS = 300;
/** An attempt has failed when a round of checks to the new port, and what servers take to tell, has. */
const ATTEMPT_MS = 4_500;
const ATTEMPTS = 3;
/** One is enough, but for those that get lost on their way to our own router. */
const OPENERS = 3;
/** A socket that is not in use is closed: by then the friend has left it as well. */
const UNUSED_MS = 10_000;
/** A friend that is elsewhere after all attempts have failed is tried again, but not at once. */
const TRY_AGAIN_MS = 10_000;

export type ReopeningInput =
  | Extract<PortGuessInput, { type: 'tick' | 'own-nat' | 'friend-nat' | 'network-changed' }>
  /** Whether the friend answers directly, and whether what is said to it goes through the socket. */
  | { readonly type: 'path'; readonly direct: boolean; readonly used: boolean }
  /** The socket that was asked for is there; `mapped`: where a server sees it. */
  | { readonly type: 'opened'; readonly mapped: Address | undefined };

export type ReopeningEffect =
  /** Open a socket, instead of the one there may be, and ask a server where it is seen. */
  | { readonly type: 'open-socket' }
  /** Send from the socket what passes our own routers and dies before it comes to the friend's. */
  | { readonly type: 'open-port'; readonly remote: Address }
  /** Have the friend told where the socket is seen. */
  | { readonly type: 'tell' }
  | { readonly type: 'close-socket' };

/**
 * A second way in, where the first was spoilt. Linux routers answer by themselves what comes before
 * they have sent there: they take the port for that, and the flow it would have belonged to leaves by
 * another one, which the friend's router does not let in. Each further check renews that, so that two
 * who did not begin together, to within the way from one to the other, never meet.
 *
 * Here another socket is opened, and our router's port towards the friend, by packets that do not
 * arrive; only then the friend is told of it. Whatever it sends there comes after, however slow
 * either was, and so comes in. Both sides do so, for it helps at one of them only: where the port has
 * moved, Linux has further flows of the old socket leave by the moved port too. Pure; the socket is
 * somebody else's, the checks are the path agent's.
 *
 *   waiting  ordinary checks run, or it is not known what the NATs do
 *   opening  a socket is being opened, and asked about
 *   open     the friend has been told, and may be heard at it
 *   resting  there is a direct path, or all attempts failed
 */
export class Reopening {
  #own: NatReport | undefined;
  #friend: { readonly nat: NatReport; readonly reflexive: Address } | undefined;
  #phase: 'waiting' | 'opening' | 'open' | 'resting' = 'waiting';
  #direct = false;
  #used = false;
  /** When what `#phase` waits for begins or ends. */
  #dueAt: number;
  #attempts = 0;
  #gaveUpAt: number | undefined;
  #hasSocket = false;
  /** When the socket is closed unless it is needed before. */
  #closeAt: number | undefined;
  #effects: ReopeningEffect[] = [];

  constructor(now: number) {
    this.#dueAt = now + HEAD_START_MS;
  }

  step(input: ReopeningInput, now: number): ReopeningEffect[] {
    this.#effects = [];
    switch (input.type) {
      case 'own-nat':
        this.#own = input.nat;
        break;
      case 'friend-nat':
        this.#onFriend(input, now);
        break;
      case 'path':
        this.#used = input.used;
        if (input.direct && !this.#direct) this.#phase = 'resting';
        else if (!input.direct && this.#direct) this.#restart(now);
        this.#direct = input.direct;
        break;
      case 'opened':
        this.#hasSocket = true;
        if (this.#phase === 'opening') this.#onOpened(input.mapped, now);
        break;
      case 'network-changed':
        if (!this.#direct) this.#restart(now);
        break;
      case 'tick':
        break;
    }
    this.#advance(now);
    return this.#effects;
  }

  nextDeadline(): number | undefined {
    const isDue = this.#phase === 'open' || (this.#phase === 'waiting' && this.#isWorthwhile());
    const deadlines = [isDue ? this.#dueAt : undefined, this.#closeAt];
    const set = deadlines.filter((at) => at !== undefined);
    return set.length === 0 ? undefined : Math.min(...set);
  }

  #onFriend(
    { nat, reflexive }: Extract<ReopeningInput, { type: 'friend-nat' }>,
    now: number,
  ): void {
    if (nat === undefined || reflexive === undefined) return;
    const hasMoved = this.#friend !== undefined && !sameAddress(this.#friend.reflexive, reflexive);
    this.#friend = { nat, reflexive };
    const isRested = this.#gaveUpAt !== undefined && now - this.#gaveUpAt >= TRY_AGAIN_MS;
    if (hasMoved && isRested && this.#phase === 'resting') this.#restart(now);
  }

  /** Where a port is another one for everybody, or none leads out, a fresh one is no better. */
  #isWorthwhile(): boolean {
    return [this.#own, this.#friend?.nat].every(
      (nat) => nat?.mapping === 'endpoint-independent' && nat.only443 !== true,
    );
  }

  #restart(now: number): void {
    this.#phase = 'waiting';
    this.#dueAt = now + HEAD_START_MS;
    this.#attempts = 0;
    this.#gaveUpAt = undefined;
  }

  #onOpened(mapped: Address | undefined, now: number): void {
    this.#phase = 'open';
    this.#dueAt = now + ATTEMPT_MS;
    const { reflexive } = this.#friend ?? {};
    if (mapped === undefined || reflexive === undefined) return;
    for (let count = 0; count < OPENERS; count++) {
      this.#effects.push({ type: 'open-port', remote: reflexive });
    }
    this.#effects.push({ type: 'tell' });
  }

  #advance(now: number): void {
    if (this.#phase === 'waiting' && this.#isWorthwhile() && this.#dueAt <= now) this.#open();
    else if (this.#phase === 'open' && this.#dueAt <= now) {
      if (this.#attempts < ATTEMPTS) this.#open();
      else {
        this.#phase = 'resting';
        this.#gaveUpAt = now;
      }
    }
    this.#closeUnused(now);
  }

  #open(): void {
    this.#attempts++;
    this.#phase = 'opening';
    this.#hasSocket = false;
    this.#effects.push({ type: 'open-socket' });
  }

  #closeUnused(now: number): void {
    if (!this.#hasSocket || this.#phase === 'open' || this.#used) {
      this.#closeAt = undefined;
      return;
    }
    this.#closeAt ??= now + UNUSED_MS;
    if (this.#closeAt > now) return;
    this.#closeAt = undefined;
    this.#hasSocket = false;
    this.#effects.push({ type: 'close-socket' });
  }
}
