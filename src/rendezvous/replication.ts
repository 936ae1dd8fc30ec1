import type {
  ReplicationFrame,
  ReplicationHello,
  Snapshot,
  Updates,
} from '../rpc/generated/chatty/v1/replication.ts';
import { negotiate } from '../rpc/protocol.ts';
import { type FirstFlight, flightFromWire } from './first-flights.ts';
import { factsFromWire, type Member, memberFromWire, type MemberFact } from './member.ts';
import type { TableDigest } from './peer-table.ts';
import type { PeerRecord, RecordKey, RecordUpdate } from './record.ts';
import {
  keyFromWire,
  keyToWire,
  recordFromWire,
  recordToWire,
  safeNumber,
  updateToWire,
} from './record-codec.ts';

/** What a session needs to know of its own server. */
export interface ReplicationSource {
  hello(): Omit<ReplicationHello, 'wantedId'>;
  /** Everything this server owns. */
  snapshot(): readonly PeerRecord[];
  /** The number of the last change to it. */
  seq(): number;
  ownDigest(): TableDigest;
  /** What this server holds of another. */
  digestOf(owner: string): TableDigest;
  /** Which members it cannot reach. */
  unreachable(): readonly string[];
}

export type ReplicationEffect =
  /** The other side has said who it is; once, and before anything else. */
  | {
      readonly type: 'linked';
      readonly member: Member;
      readonly facts: readonly MemberFact[];
      /** Empty: it does not relay. */
      readonly relaySecret: Uint8Array;
    }
  | { readonly type: 'upsert'; readonly record: PeerRecord }
  | { readonly type: 'remove'; readonly key: RecordKey }
  /** The snapshot is whole: what the other side owned beside these records is gone. */
  | { readonly type: 'retain'; readonly records: readonly PeerRecord[] }
  | { readonly type: 'reach'; readonly unreachable: readonly string[] }
  /** What a peer that is registered there sends ahead to a friend. */
  | { readonly type: 'flight'; readonly from: RecordKey; readonly flight: FirstFlight }
  /** Changes were heard, the first of them made at that instant by the other's calendar. */
  | { readonly type: 'heard'; readonly firstMadeAt: number }
  /** The stream is of no use any more. */
  | { readonly type: 'close'; readonly reason: string };

/** Records in one part of a snapshot: less than 2 MiB even of the largest. */
const PART_RECORDS = 100;
const BATCH_UPDATES = 100;
/** Changes that wait for a slow stream; with more, a fresh snapshot is the shorter way. */
const MAX_PENDING = 10_000;
/** How often it is said who cannot be reached, which also shows that the stream works. */
const HEARTBEAT_MS = 2_000;
/** A stream on which nothing was heard for two heartbeats and some is broken. */
const SILENT_MS = 5_000;
const DIGEST_EVERY_MS = 30_000;
/**
 * A digest makes us ask for a snapshot no more often: the next of an honest server's does again, also
 * where it was less long on its way.
 */
const REPAIR_EVERY_MS = DIGEST_EVERY_MS / 2;
/** First flights that wait for a slow stream. */
const MAX_FLIGHTS = 256;
const FLIGHT_WITHIN_MS = 1_000;
const MAX_FACTS = 1_000;
const MAX_REPORTED = 1_000;

/**
 * One end of the stream between two servers: tells the other what this server owns (hello, snapshot,
 * then every change, in order), and hears the same of it. Both ends are alike.
 *
 * What there is to say is pulled by `next`, as fast as the stream takes it; a change costs nothing
 * until then, and a stream that is too slow gets a snapshot in place of what it missed.
 */
export class ReplicationSession {
  readonly #source: ReplicationSource;
  readonly #wanted: string;
  #saidHello = false;
  #snapshot:
    { readonly records: readonly PeerRecord[]; readonly seq: number; at: number } | undefined;
  #wantsSnapshot = true;
  #pending: { readonly update: RecordUpdate; readonly madeAt: number }[] = [];
  #flights: { readonly from: RecordKey; readonly flight: FirstFlight; readonly until: number }[] =
    [];
  #asks = false;
  #heartbeatAt: number;
  #digestAt: number;

  #other: Member | undefined;
  #lastHeardAt: number;
  /** The number of the other side's last change known here; undefined: a snapshot is to come. */
  #theirSeq: number | undefined;
  #arriving: { readonly seq: bigint; readonly records: PeerRecord[] } | undefined;
  #repairedAt = -Infinity;
  #closed = false;

  /** @param wanted the id of the member that was called; undefined where this server was. */
  constructor(source: ReplicationSource, now: number, wanted?: string) {
    this.#source = source;
    this.#wanted = wanted ?? '';
    this.#heartbeatAt = now + HEARTBEAT_MS;
    this.#digestAt = now + DIGEST_EVERY_MS;
    this.#lastHeardAt = now;
  }

  /** The other side; undefined until its hello. */
  get other(): Member | undefined {
    return this.#other;
  }

  get lastHeardAt(): number {
    return this.#lastHeardAt;
  }

  nextDeadline(): number {
    return Math.min(this.#heartbeatAt, this.#digestAt, this.#lastHeardAt + SILENT_MS);
  }

  /** After this, `next` may have something at a deadline. */
  tick(now: number): readonly ReplicationEffect[] {
    if (now - this.#lastHeardAt < SILENT_MS) return [];
    return this.#close('nothing was heard for too long');
  }

  /**
   * This server owns something else than before.
   * @param madeAt by the calendar, in milliseconds since 1970, for the figures of the other side.
   */
  changed(update: RecordUpdate, madeAt = 0): void {
    if (this.#wantsSnapshot) return;
    if (this.#pending.length < MAX_PENDING) {
      this.#pending.push({ update, madeAt });
      return;
    }
    this.#pending = [];
    this.#snapshot = undefined;
    this.#wantsSnapshot = true;
  }

  /** Passes on a first flight, after all that has changed; what does not go soon is of no use. */
  pass(from: RecordKey, flight: FirstFlight, now: number): void {
    if (this.#flights.length >= MAX_FLIGHTS) this.#flights.shift();
    this.#flights.push({ from, flight, until: now + FLIGHT_WITHIN_MS });
  }

  /** The next frame to send, if there is one. */
  next(now: number): ReplicationFrame | undefined {
    const kind = this.#closed ? undefined : this.#nextKind(now);
    return kind === undefined ? undefined : { kind };
  }

  #nextKind(now: number): ReplicationFrame['kind'] {
    if (!this.#saidHello) {
      this.#saidHello = true;
      return { $case: 'hello', value: { ...this.#source.hello(), wantedId: this.#wanted } };
    }
    if (now >= this.#heartbeatAt) {
      this.#heartbeatAt = now + HEARTBEAT_MS;
      return {
        $case: 'reachReport',
        value: { unreachableIds: this.#source.unreachable().slice(0, MAX_REPORTED) },
      };
    }
    if (this.#asks) {
      this.#asks = false;
      return { $case: 'snapshotRequest', value: {} };
    }
    if (this.#wantsSnapshot) {
      this.#wantsSnapshot = false;
      this.#pending = [];
      const seq = this.#source.seq();
      this.#snapshot = { records: this.#source.snapshot(), seq, at: 0 };
    }
    if (this.#snapshot !== undefined) return { $case: 'snapshot', value: this.#nextPart() };
    if (this.#pending.length > 0) {
      const batch = this.#pending.splice(0, BATCH_UPDATES);
      const firstMadeAt = BigInt(Math.max(0, Math.round(batch[0]?.madeAt ?? 0)));
      const updates = batch.map(({ update }) => updateToWire(update));
      return { $case: 'updates', value: { updates, firstMadeAt } };
    }
    for (let next; (next = this.#flights.shift()) !== undefined;) {
      if (now >= next.until) continue;
      const { friend, datagrams } = next.flight;
      const flight = { friend, datagrams: [...datagrams] };
      return { $case: 'passedFlight', value: { from: keyToWire(next.from), flight } };
    }
    if (now >= this.#digestAt) {
      this.#digestAt = now + DIGEST_EVERY_MS;
      const seq = BigInt(this.#source.seq());
      return { $case: 'digest', value: { seq, ...this.#source.ownDigest() } };
    }
    return undefined;
  }

  #nextPart(): Snapshot {
    const { records = [], seq = 0, at = 0 } = this.#snapshot ?? {};
    const part = records.slice(at, at + PART_RECORDS);
    const last = at + PART_RECORDS >= records.length;
    this.#snapshot = last ? undefined : { records, seq, at: at + PART_RECORDS };
    return { records: part.map(recordToWire), last, seq: BigInt(seq) };
  }

  /** What a frame of the other side's means. Never throws. */
  receive(frame: ReplicationFrame, now: number): readonly ReplicationEffect[] {
    if (this.#closed) return [];
    this.#lastHeardAt = now;
    const { kind } = frame;
    // A frame of a later version.
    if (kind === undefined) return [];
    if (kind.$case === 'hello') return this.#hello(kind.value);
    const other = this.#other;
    if (other === undefined) return this.#close('the first frame was no hello');
    switch (kind.$case) {
      case 'snapshot':
        return this.#part(kind.value, other.id);
      case 'updates':
        return this.#updates(kind.value, other.id);
      case 'digest': {
        const { seq, count, checksum } = kind.value;
        if (this.#theirSeq === undefined) return [];
        const held = this.#source.digestOf(other.id);
        const same =
          BigInt(this.#theirSeq) === seq && held.count === count && held.checksum === checksum;
        if (!same && now - this.#repairedAt >= REPAIR_EVERY_MS) {
          this.#repairedAt = now;
          this.#ask();
        }
        return [];
      }
      case 'snapshotRequest':
        // One that is under way will do.
        if (this.#snapshot === undefined) this.#wantsSnapshot = true;
        return [];
      case 'reachReport':
        return [{ type: 'reach', unreachable: kind.value.unreachableIds.slice(0, MAX_REPORTED) }];
      case 'passedFlight': {
        const from = keyFromWire(kind.value.from);
        const flight = flightFromWire(kind.value.flight);
        return from && flight ? [{ type: 'flight', from, flight }] : [];
      }
    }
  }

  #hello(hello: ReplicationHello): readonly ReplicationEffect[] {
    if (this.#other !== undefined) return this.#close('it said hello twice');
    // A server that began again at an address is called by those who look for the one before. The
    // stream that this pair has is not replaced by such a call.
    const self = this.#source.hello().member?.id;
    if (hello.wantedId !== '' && hello.wantedId !== self) return this.#close('it calls another');
    const agreed = negotiate(hello.protocol, 'server');
    if ('fault' in agreed) return this.#close(agreed.fault.message);
    const member = memberFromWire(hello.member);
    if (member === undefined) return this.#close('its hello does not say who it is');
    this.#other = member;
    const facts = factsFromWire(hello.members, MAX_FACTS);
    return [{ type: 'linked', member, facts, relaySecret: hello.relaySecret }];
  }

  #part({ records, last, seq }: Snapshot, owner: string): readonly ReplicationEffect[] {
    const arrived = records
      .map((wire) => recordFromWire(wire, owner))
      .filter((record) => record !== undefined);
    const all = this.#arriving?.seq === seq ? this.#arriving.records : [];
    all.push(...arrived);
    const effects: ReplicationEffect[] = arrived.map((record) => ({ type: 'upsert', record }));
    if (!last) {
      this.#theirSeq = undefined;
      this.#arriving = { seq, records: all };
      return effects;
    }
    this.#arriving = undefined;
    this.#theirSeq = safeNumber(seq);
    if (this.#theirSeq === undefined) return this.#close('it counts beyond what can be counted');
    return [...effects, { type: 'retain', records: all }];
  }

  #updates({ updates, firstMadeAt }: Updates, owner: string): readonly ReplicationEffect[] {
    const effects: ReplicationEffect[] = [];
    for (const { seq, change } of updates) {
      if (this.#theirSeq === undefined) break;
      const missed = seq - BigInt(this.#theirSeq);
      if (missed <= 0n) continue;
      if (missed > 1n) {
        this.#ask();
        break;
      }
      this.#theirSeq += 1;
      if (change?.$case === 'upsert') {
        const record = recordFromWire(change.value, owner);
        if (record !== undefined) effects.push({ type: 'upsert', record });
      } else if (change?.$case === 'remove') {
        const key = keyFromWire(change.value);
        if (key !== undefined) effects.push({ type: 'remove', key });
      }
    }
    const madeAt = safeNumber(firstMadeAt) ?? 0;
    if (madeAt > 0) effects.push({ type: 'heard', firstMadeAt: madeAt });
    return effects;
  }

  /** Asks for a snapshot; what comes before it is of no use. */
  #ask(): void {
    this.#theirSeq = undefined;
    this.#arriving = undefined;
    this.#asks = true;
  }

  #close(reason: string): readonly ReplicationEffect[] {
    this.#closed = true;
    return [{ type: 'close', reason }];
  }
}
