import type { FirstFlight as WireFlight } from '../rpc/generated/chatty/v1/rendezvous.ts';
import type { RecordKey } from './record.ts';

/** The QUIC datagrams with which a peer begins to talk to a friend before it knows where that is. */
export interface FirstFlight {
  /** The friend's name. */
  readonly friend: string;
  readonly datagrams: readonly Buffer[];
}

/** How long the friend may take to be there. */
const KEPT_MS = 1_000;
const MAX_DATAGRAMS = 2;
/** RFC 9000 §14.1. */
const MAX_DATAGRAM_BYTES = 1200;
/** All that is kept at once: 10 MB at most. */
const MAX_KEPT = 4_096;
/** A QUIC long header: nothing else begins a conversation. */
const LONG_HEADER = 0x80;

/** @returns undefined for what is no first flight. */
export function flightFromWire(wire: WireFlight | undefined): FirstFlight | undefined {
  if (wire === undefined) return undefined;
  const { friend, datagrams } = wire;
  if (datagrams.length === 0 || datagrams.length > MAX_DATAGRAMS) return undefined;
  const each = datagrams.every(
    (datagram) => datagram.length <= MAX_DATAGRAM_BYTES && (datagram[0] ?? 0) >= LONG_HEADER,
  );
  return each ? { friend, datagrams } : undefined;
}

/** First flights that wait for their match, each for a second; never replicated, given out once. */
export class FirstFlights {
  /** By sender and friend, in the order of their arrival. */
  readonly #kept = new Map<
    string,
    { readonly datagrams: readonly Buffer[]; readonly until: number }
  >();

  keep(from: RecordKey, { friend, datagrams }: FirstFlight, now: number): void {
    for (const [id, { until }] of this.#kept) {
      if (now < until && this.#kept.size < MAX_KEPT) break;
      this.#kept.delete(id);
    }
    const id = idOf(from, friend);
    this.#kept.delete(id);
    this.#kept.set(id, { datagrams, until: now + KEPT_MS });
  }

  /** Whether there is something from `from` to `friend`. */
  holds(from: RecordKey, friend: string, now: number): boolean {
    return now < (this.#kept.get(idOf(from, friend))?.until ?? -Infinity);
  }

  /** What `from` sends to `friend`; it is kept no longer. */
  take(from: RecordKey, friend: string, now: number): readonly Buffer[] {
    const id = idOf(from, friend);
    const kept = this.#kept.get(id);
    this.#kept.delete(id);
    return kept !== undefined && now < kept.until ? kept.datagrams : [];
  }
}

function idOf({ name, key, session }: RecordKey, friend: string): string {
  // No name holds a control character.
  return `${session}${key}${name}\0${friend}`;
}
