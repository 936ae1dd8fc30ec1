import { type Address, formatAddress, sameAddress } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import {
  type Attempt,
  attemptOf,
  guessPlan,
  type GuessPlan,
  type NatReport,
} from './port-prediction.ts';

/** Ordinary checks have found whatever they can after so long: two round trips of 100 ms. */
const HEAD_START_MS = 200;
/** A side whose ports can be foreseen says where they are when its first checks are on their way. */
const REPORT_AFTER_MS = 100;
/**
 * So long a fresh report of the friend's is waited for, many times what it takes: among the ports after
 * an old one are those of the friend's first checks, which our own router may have answered.
 */
const FRESH_WITHIN_MS = 1_500;
/** Reports known to be old: more than servers that have not heard of the newest can tell. */
const MAX_SEEN_REPORTS = 8;
/** A friend that reports anew after all attempts have failed is tried again, but not at once. */
const TRY_AGAIN_MS = 10_000;
/** Between two attempts: until the sockets of one are closed. */
const NEXT_ATTEMPT_MS = 20;
/** How often it is looked whether it is this friend's turn. */
const TURN_CHECK_MS = 50;
/** How often the user is told. */
const PROGRESS_MS = 2_000;

/** Only one attempt at a time in one program: each is some hundred packets a second. */
export class GuessTurn {
  #holder: PortGuess | undefined;

  /** @returns whether it is `guess`'s turn now. */
  take(guess: PortGuess): boolean {
    this.#holder ??= guess;
    return this.#holder === guess;
  }

  release(guess: PortGuess): void {
    if (this.#holder === guess) this.#holder = undefined;
  }
}

export type PortGuessInput =
  | { readonly type: 'tick' }
  /** What our NAT does, when that becomes known and whenever it was asked anew. */
  | { readonly type: 'own-nat'; readonly nat: NatReport | undefined }
  /** What servers tell of the friend; `reflexive`: where they see its own socket. */
  | {
      readonly type: 'friend-nat';
      readonly nat: NatReport | undefined;
      readonly reflexive: Address | undefined;
    }
  /** Whether the friend answers on a direct path. */
  | { readonly type: 'direct'; readonly connected: boolean }
  /** So many of the sockets that were asked for are open. */
  | { readonly type: 'opened'; readonly sockets: number }
  /** Our network is another. */
  | { readonly type: 'network-changed' };

export type PortGuessEffect =
  /** Ask servers anew where a fresh socket is seen, and tell the friend. */
  | { readonly type: 'report' }
  | { readonly type: 'open-sockets'; readonly count: number }
  /** Close what was opened, but for what the friend was heard at. */
  | { readonly type: 'close-sockets' }
  | {
      readonly type: 'guess';
      readonly remote: Address;
      readonly socket: number | undefined;
      /** See `Probe`. */
      readonly short: boolean;
    }
  | { readonly type: 'progress'; readonly progress: GuessProgress };

/** What the user is told while ports are guessed. */
export interface GuessProgress {
  readonly plan: GuessPlan;
  readonly state: 'guessing' | 'found' | 'given-up';
  /** Checks sent to guessed ports. */
  readonly probes: number;
  readonly elapsedMs: number;
}

/**
 * The guessing of ports towards one session of a friend: when, what and for how long. Pure; the
 * sockets are somebody else's, and the checks are the path agent's.
 *
 *   waiting  ordinary checks run, or reports are not there yet, or it is another friend's turn
 *   opening  sockets are being opened
 *   sending  probes go out
 *   resting  there is a direct path, or all attempts failed
 */
export class PortGuess {
  readonly #turn: GuessTurn;
  readonly #random: Random;
  #own: NatReport | undefined;
  #friend: { readonly nat: NatReport; readonly reflexive: Address } | undefined;
  /** The addresses in the friend's last reports. */
  #seen: string[] = [];
  #phase: 'waiting' | 'opening' | 'sending' | 'resting' = 'waiting';
  #connected = false;
  /** When the next report of ours is due, if the friend needs one; undefined: it has been made. */
  #reportAt: number | undefined;
  /** Whether each side has reported since the last attempt. */
  #ownIsFresh = false;
  #friendIsFresh = false;
  /** When an attempt may begin at the earliest, and when it begins with what is known. */
  #startAt: number;
  /** Attempts that failed. */
  #attempts = 0;
  #attempt: Attempt | undefined;
  #attemptAt = 0;
  #sockets = 0;
  #next = 0;
  #probes = 0;
  #firstAttemptAt: number | undefined;
  #gaveUpAt: number | undefined;
  #progressAt = 0;
  #effects: PortGuessEffect[] = [];

  constructor(options: { readonly turn: GuessTurn; readonly random: Random }, now: number) {
    this.#turn = options.turn;
    this.#random = options.random;
    this.#startAt = now + HEAD_START_MS;
    this.#reportAt = now + REPORT_AFTER_MS;
  }

  get plan(): GuessPlan {
    return guessPlan(this.#own?.mapping, this.#friend?.nat.mapping);
  }

  /** Checks sent to guessed ports so far. */
  get probes(): number {
    return this.#probes;
  }

  step(input: PortGuessInput, now: number): PortGuessEffect[] {
    this.#effects = [];
    switch (input.type) {
      case 'own-nat':
        this.#own = input.nat;
        this.#ownIsFresh = true;
        if (this.#reportAt === undefined && this.plan === 'be-aimed') {
          // Before others behind our router open the ports that the friend is being told of.
          this.#startAt = now;
        }
        break;
      case 'friend-nat':
        this.#onFriend(input.nat, input.reflexive, now);
        break;
      case 'direct':
        if (input.connected) this.#rest('found', now);
        else if (this.#connected) this.#restart(now);
        this.#connected = input.connected;
        break;
      case 'opened':
        if (this.#phase === 'opening') this.#begin(input.sockets, now);
        break;
      case 'network-changed':
        this.#stop();
        if (!this.#connected) this.#restart(now);
        break;
      case 'tick':
        break;
    }
    this.#advance(now);
    return this.#effects;
  }

  /** Ends it for good; sockets are the caller's to close. */
  close(): void {
    this.#phase = 'resting';
    this.#attempt = undefined;
    this.#turn.release(this);
  }

  nextDeadline(now: number): number | undefined {
    if (this.#phase === 'resting' || this.#phase === 'opening') return undefined;
    if (this.#phase === 'sending') {
      const next = this.#attempt?.probes[this.#next]?.atMs ?? Infinity;
      const endsAtMs = this.#attempt?.endsAtMs ?? 0;
      return Math.min(this.#attemptAt + Math.min(next, endsAtMs), this.#progressAt);
    }
    const due = [this.#isReporting() ? this.#reportAt : undefined, this.#mayStartAt()];
    const set = due.filter((at) => at !== undefined);
    if (set.length === 0) return undefined;
    const next = Math.min(...set);
    // What is due waits for its turn.
    return next > now ? next : now + TURN_CHECK_MS;
  }

  #onFriend(nat: NatReport | undefined, reflexive: Address | undefined, now: number): void {
    if (nat === undefined || reflexive === undefined) return;
    const before = this.#friend?.nat.lastObserved;
    const isSame = before !== undefined && sameAddress(before, nat.lastObserved);
    const seen = formatAddress(nat.lastObserved);
    // A server that has not heard of the newest goes on to tell of one before.
    if (!isSame && this.#seen.includes(seen)) return;
    if (!isSame) this.#seen = [...this.#seen, seen].slice(-MAX_SEEN_REPORTS);
    this.#friend = { nat, reflexive };
    if (before === undefined || isSame) return;
    // It is there again, perhaps in another network: what failed then need not fail now.
    if (this.#gaveUpAt !== undefined && now - this.#gaveUpAt >= TRY_AGAIN_MS) this.#restart(now);
    this.#friendIsFresh = true;
    // The ports it will be at have moved: from there on, at once.
    if (this.#phase === 'sending' && this.plan === 'aim') this.#open(now);
  }

  #restart(now: number): void {
    this.#phase = 'waiting';
    this.#startAt = now + HEAD_START_MS;
    this.#reportAt = now + REPORT_AFTER_MS;
    this.#attempts = 0;
    this.#ownIsFresh = false;
    this.#friendIsFresh = false;
    this.#firstAttemptAt = undefined;
    this.#gaveUpAt = undefined;
  }

  #advance(now: number): void {
    if (this.#phase === 'waiting') {
      this.#report(now);
      const startAt = this.#mayStartAt();
      if (startAt !== undefined && startAt <= now && this.#turn.take(this)) this.#open(now);
    }
    if (this.#phase === 'sending') this.#send(now);
  }

  /** Whether our own ports are what the friend has to know. */
  #isReporting(): boolean {
    const { plan } = this;
    return plan === 'be-aimed' || plan === 'meet';
  }

  #report(now: number): void {
    if (!this.#isReporting() || this.#reportAt === undefined || this.#reportAt > now) return;
    this.#reportAt = undefined;
    this.#ownIsFresh = false;
    this.#effects.push({ type: 'report' });
  }

  /** When an attempt may begin; undefined: there is none to make. */
  #mayStartAt(): number | undefined {
    const { plan } = this;
    if (plan === 'none' || plan === 'hopeless') return undefined;
    const hasReported = this.#ownIsFresh && this.#reportAt === undefined;
    const isFresh =
      (hasReported || !this.#isReporting()) &&
      (this.#friendIsFresh || (plan !== 'aim' && plan !== 'meet'));
    return isFresh ? this.#startAt : this.#startAt + FRESH_WITHIN_MS;
  }

  #open(now: number): void {
    if (this.#friend === undefined) return;
    this.#attempt = attemptOf(this.plan, this.#friend, this.#random, this.#attempts);
    if (this.#attempt === undefined) {
      this.#rest('given-up', now);
      return;
    }
    const { sockets } = this.#attempt;
    if (this.#firstAttemptAt === undefined) {
      this.#firstAttemptAt = now;
      this.#tell('guessing', now);
    }
    if (sockets === 0) {
      this.#begin(0, now);
      return;
    }
    this.#phase = 'opening';
    this.#effects.push({ type: 'open-sockets', count: sockets });
  }

  #begin(sockets: number, now: number): void {
    this.#sockets = sockets;
    this.#attemptAt = now;
    this.#next = 0;
    this.#phase = 'sending';
  }

  #send(now: number): void {
    const { probes, endsAtMs } = this.#attempt ?? { probes: [], endsAtMs: 0 };
    for (; ; this.#next++) {
      const probe = probes[this.#next];
      if (probe === undefined || this.#attemptAt + probe.atMs > now) break;
      const { remote, socket, short = false } = probe;
      if (socket !== undefined && socket >= this.#sockets) continue;
      this.#probes++;
      this.#effects.push({ type: 'guess', remote, socket, short });
    }
    if (this.#progressAt <= now) this.#tell('guessing', now);
    if (this.#attemptAt + endsAtMs <= now) this.#fail(now);
  }

  #fail(now: number): void {
    this.#attempts++;
    this.#stop();
    this.#phase = 'waiting';
    this.#startAt = now + NEXT_ATTEMPT_MS;
    this.#ownIsFresh = false;
    this.#friendIsFresh = false;
    this.#reportAt = now;
  }

  #rest(state: 'found' | 'given-up', now: number): void {
    if (this.#phase === 'resting') return;
    if (this.#firstAttemptAt !== undefined) this.#tell(state, now);
    this.#stop();
    this.#phase = 'resting';
    if (state === 'given-up') this.#gaveUpAt = now;
  }

  #stop(): void {
    if (this.#sockets > 0 || this.#phase === 'opening') {
      this.#effects.push({ type: 'close-sockets' });
    }
    this.#attempt = undefined;
    this.#sockets = 0;
    this.#turn.release(this);
  }

  #tell(state: GuessProgress['state'], now: number): void {
    this.#progressAt = now + PROGRESS_MS;
    const elapsedMs = now - (this.#firstAttemptAt ?? now);
    const progress = { plan: this.plan, state, probes: this.#probes, elapsedMs };
    this.#effects.push({ type: 'progress', progress });
  }
}
