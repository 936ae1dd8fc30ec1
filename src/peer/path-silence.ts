import { type Address, sameAddress } from '../base/address.ts';

/** Longer than any datagram that only acknowledges: QUIC waits for an answer to such a one. */
const ACKNOWLEDGEMENT_BYTES = 64;
/** An answer takes one round trip, and at most 25 ms more (RFC 9000 §18.2, `max_ack_delay`). */
const SILENT_ROUND_TRIPS = 3;
/** A home's network, or a program in it, may be busy for so long. */
const MIN_SILENT_MS = 250;
/** QUIC repeats what has no answer after ever longer waits; after a pause like this it is new. */
const PAUSE_MS = 1_000;
const PAUSE_ROUND_TRIPS = 6;
/** What is looked into is not looked into again so soon. */
const REST_MS = 5_000;

/**
 * Whether anybody still answers on the path in use: one on which something is sent again and again,
 * and nothing comes back, is as good as lost, seconds before its keep-alives could tell. Pure.
 */
export class PathSilence {
  #remote: Address | undefined;
  /** When the first thing was sent that has had no answer. */
  #since: number | undefined;
  #sentAt = -Infinity;
  #foundAt = -Infinity;
  #found = false;

  /** Whether nothing has been heard from there since silence was found. */
  isSilent(remote: Address): boolean {
    return this.#found && this.#remote !== undefined && sameAddress(remote, this.#remote);
  }

  /** Something was sent there. @returns whether that shows it to be silent, once a silence. */
  sent(bytes: number, { remote, rttMs }: { remote: Address; rttMs: number }, now: number): boolean {
    if (this.#remote === undefined || !sameAddress(remote, this.#remote)) {
      this.#remote = remote;
      this.#forget();
    }
    const isNew = now - this.#sentAt >= Math.max(PAUSE_MS, PAUSE_ROUND_TRIPS * rttMs);
    this.#sentAt = now;
    if (isNew) this.#since = undefined;
    if (bytes > ACKNOWLEDGEMENT_BYTES) this.#since ??= now;
    const silentMs = now - (this.#since ?? now);
    if (this.#found || now - this.#foundAt < REST_MS) return false;
    if (silentMs < Math.max(MIN_SILENT_MS, SILENT_ROUND_TRIPS * rttMs)) return false;
    this.#found = true;
    this.#foundAt = now;
    return true;
  }

  /** Something came from there. */
  heard(remote: Address): void {
    if (this.#remote !== undefined && sameAddress(remote, this.#remote)) this.#forget();
  }

  #forget(): void {
    this.#since = undefined;
    this.#found = false;
  }
}
