import type { Address } from '../base/address.ts';
import type { Candidate } from '../path/index.ts';

/*
 * What the table holds. Everything that is compared or looked up is text, in a spelling whose order
 * is the protocol's: keys and server ids in lower-case hexadecimal (bytewise order), sessions as
 * `session-order` explains. Records are immutable: a change is a new record.
 */

/** Where a session can be reached, and the credentials of its connectivity checks. */
export interface Endpoint {
  readonly candidates: readonly Candidate[];
  readonly ufrag: string;
  readonly password: string;
  /** As the session itself found; undefined: it has not said. */
  readonly nat: NatReport | undefined;
  /** No byte of the session's may go over a relay. */
  readonly relayRefused: boolean;
}

/** What a session's NAT does with IPv4, by its own account. */
export interface NatReport {
  /** How it chooses the public port of a socket (RFC 4787 §4.1). */
  readonly mapping: 'endpoint-independent' | 'sequential' | 'random';
  /** Where sequential: from one port to the next. */
  readonly step: number;
  /** The public address seen last, of an IP address where a server saw the session itself. */
  readonly lastObserved: Address | undefined;
  /** UDP leaves the network to port 443 only. */
  readonly only443: boolean;
}

/** Whom a peer waits for. */
export interface Wish {
  readonly friend: string;
  /** The only key that will do; undefined: whoever holds the name. */
  readonly friendKey: string | undefined;
}

export interface RecordWish extends Wish {
  /** When it arrived, by its owner's calendar, in milliseconds since 1970. */
  readonly since: number;
}

/** What distinguishes the records of one owner. */
export interface RecordKey {
  readonly name: string;
  /** SHA-256 of the peer's SubjectPublicKeyInfo. */
  readonly key: string;
  /** The run of the peer's program; of two, the greater text is the newer. */
  readonly session: string;
}

/** A waiting peer, as the server that holds its connection (the owner) knows it. */
export interface PeerRecord extends RecordKey {
  /** The id of the only server that writes this record. */
  readonly owner: string;
  /** The owner's count of changes when it wrote this. */
  readonly seq: number;
  /** When the owner first held (name, key), by its calendar: settles registrations that crossed. */
  readonly since: number;
  /** Whether the owner sees the peer on a loopback address. */
  readonly loopback: boolean;
  readonly endpoint: Endpoint;
  /** By friend; at most `MAX_WISHES`. */
  readonly wishes: ReadonlyMap<string, RecordWish>;
}

/** A change of what one owner holds, numbered without gaps. */
export type RecordUpdate =
  | { readonly type: 'upsert'; readonly seq: number; readonly record: PeerRecord }
  | { readonly type: 'remove'; readonly seq: number; readonly key: RecordKey };

/** The most friends one peer can wait for on one connection. */
export const MAX_WISHES = 256;

/** Whether two keys are of the same record of one owner. */
export function sameRecordKey(a: RecordKey, b: RecordKey): boolean {
  return a.name === b.name && a.key === b.key && a.session === b.session;
}
