import { ROUND_MS } from './candidate-pair.ts';
import type { PathEffect } from './path-events.ts';

const ROUNDS = 3;
/** Unless the network changed, rounds start over no more often than this. */
const PUNCH_INTERVAL_MS = 5000;
/** Where only a relay is left, direct paths are looked for again after this long, then twice as long. */
const UPGRADE_MS = 10_000;
const MAX_UPGRADE_MS = 60_000;

/** What there is to the friend: a path of any kind, and a direct one. */
interface Connectivity {
  readonly connected: boolean;
  readonly direct: boolean;
}

type RoundEvent =
  /** Every pair is to be checked anew. */
  { readonly type: 'round-started' } | Extract<PathEffect, { type: 'round-failed' | 'failed' }>;

/**
 * When all pairs are checked: in up to three rounds, which end when one is direct; again when paths
 * were lost or the network changed, and from time to time while there is only a relay. Pure.
 */
export class CheckRounds {
  /** The round that runs. */
  #round: { readonly number: number; endsAt: number } | undefined;
  #startedAt = -Infinity;
  /** When rounds start over. */
  #startAt: number | undefined;
  /** How long a path over a relay is left alone before a direct one is looked for again. */
  #upgradeMs = UPGRADE_MS;
  #upgradeAt: number | undefined;

  constructor(now: number) {
    this.#startAt = now;
  }

  /** Whether a round runs, or one is to start. */
  get pending(): boolean {
    return this.#round !== undefined || this.#startAt !== undefined;
  }

  /** When `advance` has something to do; undefined: not by itself. */
  get nextDeadline(): number | undefined {
    const set = [this.#round?.endsAt, this.#startAt, this.#upgradeAt].filter(
      (deadline) => deadline !== undefined,
    );
    return set.length === 0 ? undefined : Math.min(...set);
  }

  /** Rounds start over as soon as they may. */
  restart(now: number): void {
    this.#startAt ??= Math.max(now, this.#startedAt + PUNCH_INTERVAL_MS);
  }

  /** Rounds start over at once: what is checked now is not what was checked before. */
  restartNow(now: number): void {
    this.#startAt = now;
  }

  /** Where direct paths were looked for in vain says nothing of where we are now. */
  forgetFailures(): void {
    this.#upgradeMs = UPGRADE_MS;
  }

  /** Pairs that join the round that runs have as long as the others had. */
  extend(now: number): void {
    if (this.#round !== undefined) this.#round.endsAt = now + ROUND_MS;
  }

  advance(now: number, { connected, direct }: Connectivity): readonly RoundEvent[] {
    if (this.#upgradeAt !== undefined && this.#upgradeAt <= now) {
      this.#upgradeAt = undefined;
      if (!direct) this.#startAt ??= now;
    }
    if (this.#startAt !== undefined && this.#startAt <= now) {
      this.#startAt = undefined;
      this.#startedAt = now;
      return [this.#start(1, now)];
    }
    if (this.#round === undefined || this.#round.endsAt > now) return [];
    const { number } = this.#round;
    this.#round = undefined;
    if (direct) return [];
    const failed = { type: 'round-failed', round: number } as const;
    if (number < ROUNDS) return [failed, this.#start(number + 1, now)];
    if (connected) {
      this.#upgradeAt = now + this.#upgradeMs;
      this.#upgradeMs = Math.min(2 * this.#upgradeMs, MAX_UPGRADE_MS);
    }
    return [failed, { type: 'failed' }];
  }

  #start(number: number, now: number): RoundEvent {
    this.#round = { number, endsAt: now + ROUND_MS };
    return { type: 'round-started' };
  }
}
