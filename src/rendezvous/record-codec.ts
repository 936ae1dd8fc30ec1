import { isNormalName } from '../base/name.ts';
import { type Candidate, MAX_CANDIDATES } from '../path/candidate.ts';
import {
  type Candidate as WireCandidate,
  CandidateKind as WireKind,
  type Endpoint as WireEndpoint,
  type NatReport as WireNatReport,
  PortMapping,
  type Wish as WireWish,
} from '../rpc/generated/chatty/v1/common.ts';
import type {
  Record as WireRecord,
  RecordKey as WireRecordKey,
  Update as WireUpdate,
} from '../rpc/generated/chatty/v1/replication.ts';
import { addressFromWire, addressToWire } from '../rpc/wire-address.ts';
import {
  type Endpoint,
  MAX_WISHES,
  type NatReport,
  type PeerRecord,
  type RecordKey,
  type RecordUpdate,
  type RecordWish,
  type Wish,
} from './record.ts';
import { sessionFromWire, sessionToWire } from './session-order.ts';

/*
 * Records between their form in the table and their form on the wire. What arrives is checked in
 * full; each reader returns undefined for what cannot be true of an honest speaker.
 */

const KINDS: readonly (readonly [Candidate['kind'], WireKind])[] = [
  ['host', WireKind.CANDIDATE_KIND_HOST],
  ['srflx', WireKind.CANDIDATE_KIND_SERVER_REFLEXIVE],
  ['mapped', WireKind.CANDIDATE_KIND_MAPPED],
];
const MAPPINGS: readonly (readonly [NatReport['mapping'], PortMapping])[] = [
  ['endpoint-independent', PortMapping.PORT_MAPPING_ENDPOINT_INDEPENDENT],
  ['sequential', PortMapping.PORT_MAPPING_SEQUENTIAL],
  ['random', PortMapping.PORT_MAPPING_RANDOM],
];
const KEY_BYTES = 32;
/** From one port to any other. */
const MAX_STEP = 65_535;

export function wishToWire({ friend, friendKey }: Wish): WireWish {
  return { friend, friendKey: Buffer.from(friendKey ?? '', 'hex') };
}

export function wishFromWire(wire: WireWish | undefined): Wish | undefined {
  if (wire === undefined || !isNormalName(wire.friend)) return undefined;
  if (wire.friendKey.length === 0) return { friend: wire.friend, friendKey: undefined };
  if (wire.friendKey.length !== KEY_BYTES) return undefined;
  return { friend: wire.friend, friendKey: wire.friendKey.toString('hex') };
}

export function endpointToWire(endpoint: Endpoint): WireEndpoint {
  const { candidates, ufrag, password, nat, relayRefused } = endpoint;
  return {
    ufrag,
    password,
    relayRefused,
    nat: nat === undefined ? undefined : natToWire(nat),
    candidates: candidates.map(({ kind, address }) => ({
      kind: KINDS.find(([own]) => own === kind)?.[1] ?? WireKind.CANDIDATE_KIND_UNSPECIFIED,
      address: addressToWire(address),
    })),
  };
}

/** Candidates that are none, of kinds unknown here, or beyond the limit, are left out. */
export function endpointFromWire(wire: WireEndpoint | undefined): Endpoint | undefined {
  if (wire === undefined) return undefined;
  const { ufrag, password } = wire;
  // RFC 8445 §5.3: ice-char only, so many at least; what is longer serves nobody.
  if (!/^[A-Za-z0-9+/]{4,32}$/.test(ufrag) || !/^[A-Za-z0-9+/]{22,64}$/.test(password)) {
    return undefined;
  }
  const candidates = wire.candidates
    .slice(0, MAX_CANDIDATES)
    .map(candidateFromWire)
    .filter((candidate) => candidate !== undefined);
  const nat = natFromWire(wire.nat);
  return { ufrag, password, candidates, nat, relayRefused: wire.relayRefused };
}

function natToWire({ mapping, step, lastObserved, only443 }: NatReport): WireNatReport {
  return {
    mapping: MAPPINGS.find(([own]) => own === mapping)?.[1] ?? PortMapping.PORT_MAPPING_UNSPECIFIED,
    step,
    lastObserved: lastObserved === undefined ? undefined : addressToWire(lastObserved),
    only443,
  };
}

/** A report that says nothing understood here is none. */
function natFromWire(wire: WireNatReport | undefined): NatReport | undefined {
  const mapping = MAPPINGS.find(([, other]) => other === wire?.mapping)?.[0];
  if (wire === undefined || mapping === undefined || Math.abs(wire.step) > MAX_STEP)
    return undefined;
  const { step, only443 } = wire;
  return { mapping, step, lastObserved: addressFromWire(wire.lastObserved), only443 };
}

function candidateFromWire(wire: WireCandidate): Candidate | undefined {
  const kind = KINDS.find(([, other]) => other === wire.kind)?.[0];
  const address = addressFromWire(wire.address);
  return kind === undefined || address === undefined ? undefined : { kind, address };
}

export function keyFromWire(wire: WireRecordKey | undefined): RecordKey | undefined {
  if (wire === undefined || !isNormalName(wire.name) || wire.key.length !== KEY_BYTES) {
    return undefined;
  }
  const session = sessionFromWire(wire.session);
  return session === undefined
    ? undefined
    : { name: wire.name, key: wire.key.toString('hex'), session };
}

export function keyToWire({ name, key, session }: RecordKey): WireRecordKey {
  return { name, key: Buffer.from(key, 'hex'), session: sessionToWire(session) };
}

export function recordToWire(record: PeerRecord): WireRecord {
  return {
    key: keyToWire(record),
    seq: BigInt(record.seq),
    wishes: [...record.wishes.values()].map((wish) => ({
      wish: wishToWire(wish),
      since: wireTime(wish.since),
    })),
    endpoint: endpointToWire(record.endpoint),
    since: wireTime(record.since),
    loopback: record.loopback,
  };
}

/** @param owner the server the record came from: it can speak only for itself. */
export function recordFromWire(wire: WireRecord, owner: string): PeerRecord | undefined {
  const key = keyFromWire(wire.key);
  const endpoint = endpointFromWire(wire.endpoint);
  const seq = safeNumber(wire.seq);
  const since = safeNumber(wire.since);
  if (key === undefined || endpoint === undefined) return undefined;
  if (seq === undefined || since === undefined || wire.wishes.length > MAX_WISHES) return undefined;
  const wishes = new Map<string, RecordWish>();
  for (const { wish: wireWish, since: wireSince } of wire.wishes) {
    const wish = wishFromWire(wireWish);
    const wishSince = safeNumber(wireSince);
    if (wish === undefined || wishSince === undefined) return undefined;
    wishes.set(wish.friend, { ...wish, since: wishSince });
  }
  return { ...key, owner, seq, since, loopback: wire.loopback, endpoint, wishes };
}

export function updateToWire(update: RecordUpdate): WireUpdate {
  return {
    seq: BigInt(update.seq),
    change:
      update.type === 'upsert'
        ? { $case: 'upsert', value: recordToWire(update.record) }
        : { $case: 'remove', value: keyToWire(update.key) },
  };
}

/** A number that counts or tells time, if it is small enough to be exact. */
export function safeNumber(value: bigint): number | undefined {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

function wireTime(ms: number): bigint {
  return BigInt(Math.max(0, Math.round(ms)));
}
