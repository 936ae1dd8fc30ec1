import { MAX_RELAYED_BYTES, RELAY_HEADER_BYTES, type RelayLimit } from '../path/relay-frame.ts';

/** What one server relays for others. */
export interface RelayLimits {
  /** Bytes a second of one pair, both ways together. */
  readonly pairBytesPerSecond: number;
  /** Bytes in all of one pair, until it has rested for 5 minutes. */
  readonly pairBytes: number;
  /** How long one pair may be relayed, until it has rested for 5 minutes. */
  readonly pairTimeMs: number;
  /** Bytes a second of all pairs together. */
  readonly bytesPerSecond: number;
  /** Pairs that are known at once. */
  readonly pairs: number;
}

/** A pair that was not relayed for so long begins anew. */
const REST_MS = 300_000;
/** A longer silence does not count as time that a pair was relayed. */
const PAUSE_MS = 10_000;
/** What two people say to each other takes less: a pair that has no more relayed is not put off. */
const TALK_BYTES_PER_SECOND = 16 * 1024;
/** Of what is relayed for all at once, the part that is kept for those who only talk. */
const KEPT_FOR_TALK = 0.25;
const LONGEST_BYTES = MAX_RELAYED_BYTES + RELAY_HEADER_BYTES;

/** So many bytes a second; as many may come at once, and in any case one datagram. (A token bucket.) */
export class ByteRate {
  readonly #perSecond: number;
  readonly #most: number;
  #left: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#most = Math.max(perSecond, LONGEST_BYTES);
    this.#left = this.#most;
    this.#at = now;
  }

  /**
   * Takes so many, if there are.
   * @param kept the part of all there may be that is not for this one.
   */
  take(bytes: number, now: number, kept = 0): boolean {
    const earned = ((now - this.#at) / 1000) * this.#perSecond;
    this.#left = Math.min(this.#most, this.#left + earned);
    this.#at = now;
    if (this.#left - kept * this.#most < bytes) return false;
    this.#left -= bytes;
    return true;
  }
}

/** What one pair may still have relayed. */
export class PairBudget {
  readonly #limits: RelayLimits;
  readonly #rate: ByteRate;
  readonly #talk: ByteRate;
  #bytes = 0;
  #timeMs = 0;
  #askedAt = -Infinity;

  constructor(limits: RelayLimits, now: number) {
    this.#limits = limits;
    this.#rate = new ByteRate(limits.pairBytesPerSecond, now);
    this.#talk = new ByteRate(TALK_BYTES_PER_SECOND, now);
  }

  /**
   * Takes so many bytes, also of what there is for all pairs together, where those who only talk come
   * before those who send much.
   * @returns what forbids it, if anything does.
   */
  take(bytes: number, all: ByteRate, now: number): RelayLimit | undefined {
    const { pairBytes, pairTimeMs } = this.#limits;
    const silentMs = now - this.#askedAt;
    this.#askedAt = now;
    if (silentMs >= REST_MS) {
      this.#bytes = 0;
      this.#timeMs = 0;
    } else {
      this.#timeMs += Math.min(silentMs, PAUSE_MS);
    }
    if (this.#timeMs >= pairTimeMs) return 'time';
    if (this.#bytes + bytes > pairBytes) return 'bytes';
    if (!this.#rate.take(bytes, now)) return 'rate';
    this.#bytes += bytes;
    const kept = this.#talk.take(bytes, now) ? 0 : KEPT_FOR_TALK;
    return all.take(bytes, now, kept) ? undefined : 'server';
  }
}
