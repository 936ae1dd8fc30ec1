import type { CandidatePair } from './candidate-pair.ts';

/**
 * The pair that both sides are to use (RFC 8445 §8.1.1). The controlling side names the one it has
 * selected, anew whenever that changes; the controlled side follows.
 *
 * Nominations are numbered and the highest number counts, so that one that was overtaken on its way
 * changes nothing. The number is the time of the nomination, since agents to the same friend may
 * come one after another with the same credentials: each has to start above the one before.
 */
export class Nomination {
  readonly #controlling: boolean;
  #pair: CandidatePair | undefined;
  #number = 0;

  constructor(controlling: boolean) {
    this.#controlling = controlling;
  }

  /** The pair the friend wants used; undefined: it has named none, or follows us. */
  get followed(): CandidatePair | undefined {
    return this.#controlling ? undefined : this.#pair;
  }

  /** The controlling side has selected a pair, or none. */
  select(pair: CandidatePair | undefined, now: number): void {
    if (!this.#controlling || pair === this.#pair) return;
    if (this.#pair !== undefined) this.#pair.nomination = 0;
    this.#pair = pair;
    if (pair === undefined) return;
    this.#number = Math.max(this.#number + 1, Math.floor(now));
    pair.nominate(this.#number, now);
  }

  /** The friend has said of a pair, in a message that is no copy, that this is its number. */
  hear(pair: CandidatePair, number: number): void {
    if (this.#controlling || number === 0 || number < this.#number) return;
    // The same number from another address: the friend's router has given it another one.
    if (this.#pair !== undefined) this.#pair.nomination = 0;
    this.#pair = pair;
    this.#number = number;
    pair.nomination = number;
  }

  /** The pair is no more. */
  drop(pair: CandidatePair): void {
    if (pair === this.#pair) this.#pair = undefined;
  }

  /** The friend has started anew, and so do its numbers. */
  forget(): void {
    if (this.#pair !== undefined) this.#pair.nomination = 0;
    this.#pair = undefined;
    if (!this.#controlling) this.#number = 0;
  }
}
