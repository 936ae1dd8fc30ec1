import type { ClientDuplexStream, Server, ServerDuplexStream } from '@grpc/grpc-js';
import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { reasonOf } from '../base/errors.ts';
import { clientFor } from '../rpc/cluster-channel.ts';
import {
  type ReplicateRequest,
  type ReplicateResponse,
  ReplicationServiceClient,
  ReplicationServiceService,
} from '../rpc/generated/chatty/v1/replication.ts';
import { callerRole } from '../rpc/role.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import type { FirstFlight } from './first-flights.ts';
import type { Member } from './member.ts';
import type { RecordKey, RecordUpdate } from './record.ts';
import { ReplicationSession, type ReplicationSource } from './replication.ts';
import {
  type ReplicationHandlers,
  type ReplicationLink,
  ReplicationLinks,
} from './replication-links.ts';

type Stream =
  | ClientDuplexStream<ReplicateRequest, ReplicateResponse>
  | ServerDuplexStream<ReplicateRequest, ReplicateResponse>;

interface Link extends ReplicationLink {
  readonly stream: Stream;
}

/** A timer due already waits this long all the same: the stream may not be taking anything. */
const MIN_TIMER_MS = 20;

/** The streams to the other servers: one a pair, opened by the member with the lower id. */
export class ReplicationService {
  readonly #tls: ClusterTls;
  readonly #clock: Clock;
  readonly #source: ReplicationSource;
  readonly #handlers: ReplicationHandlers;
  readonly #links: ReplicationLinks<Link>;
  readonly #attempts = new Map<string, number>();
  #flushing = false;
  #stopped = false;

  constructor(
    tls: ClusterTls,
    clock: Clock,
    source: ReplicationSource,
    handlers: ReplicationHandlers,
  ) {
    this.#tls = tls;
    this.#clock = clock;
    this.#source = source;
    this.#handlers = handlers;
    this.#links = new ReplicationLinks({
      ...handlers,
      effects: (owner, effects) => {
        if (effects.some(({ type }) => type === 'linked')) this.#attempts.delete(owner);
        handlers.effects(owner, effects);
      },
    });
  }

  addTo(server: Server): void {
    const replicate = (call: ServerDuplexStream<ReplicateRequest, ReplicateResponse>): void => {
      // A load balancer has nothing to say about who waits.
      if (callerRole(call) === 'rendezvous') this.#open(call, undefined, () => call.end());
      else call.destroy(new Error('only servers replicate'));
    };
    server.addService(ReplicationServiceService, { replicate });
  }

  /** Opens the stream to a member, on the next of its addresses. */
  dial(member: Member): void {
    const attempt = this.#attempts.get(member.id) ?? 0;
    this.#attempts.set(member.id, attempt + 1);
    const address: Address | undefined =
      member.clusterAddresses[attempt % member.clusterAddresses.length];
    if (address === undefined || this.#stopped) {
      this.#handlers.unlinked(member.id, undefined, 'it has no address');
      return;
    }
    const client = clientFor(ReplicationServiceClient, address, this.#tls, 'rendezvous');
    const call = client.replicate();
    this.#open(call, member, () => {
      call.cancel();
      client.close();
    });
  }

  /** This server owns something else than before: everybody hears of it within this turn. */
  changed(update: RecordUpdate): void {
    // Also those who have not said who they are: our snapshot may have gone out to them.
    const madeAt = this.#clock.wallClock();
    for (const { session } of this.#links.all) session.changed(update, madeAt);
    this.#flushSoon();
  }

  /** Passes on what a peer here sends ahead to a friend who is registered with another server. */
  pass(server: string, from: RecordKey, flight: FirstFlight): void {
    this.#links.with(server)?.session.pass(from, flight, this.#clock.now());
    this.#flushSoon();
  }

  /**
   * Sends what is left to say, then closes every stream: once the other side has closed it too, and
   * so has heard everything, or after `withinMs`.
   */
  async stop(withinMs: number): Promise<void> {
    this.#stopped = true;
    const links = this.#links.all;
    const closed = links.map((link) => {
      this.#flush(link);
      link.stream.end();
      return new Promise((resolve) => link.stream.once('close', resolve).once('end', resolve));
    });
    const hurry = new AbortController();
    const timeout = this.#clock.sleep(withinMs, hurry.signal).catch(() => undefined);
    await Promise.race([Promise.all(closed), timeout]);
    hurry.abort();
    for (const link of links) this.#links.end(link, 'this server is stopping');
  }

  #open(stream: Stream, wanted: Member | undefined, hangUp: () => void): void {
    const session = new ReplicationSession(this.#source, this.#clock.now(), wanted?.id);
    const link: Link = { session, stream, wanted, hangUp, timer: undefined, over: false };
    this.#links.add(link);
    stream.on('data', (message: ReplicateRequest | ReplicateResponse) => {
      const { frame } = message;
      if (frame === undefined || link.over) return;
      try {
        this.#links.apply(link, session.receive(frame, this.#clock.now()));
      } catch (error) {
        this.#links.end(link, `what came over it could not be taken: ${reasonOf(error)}`);
      }
      this.#flushSoon();
    });
    stream.on('drain', () => this.#flushSoon());
    stream.on('error', (error: Error) => this.#links.end(link, error.message));
    stream.on('end', () => this.#links.end(link, 'the other side closed it'));
    stream.on('close', () => this.#links.end(link, 'it is closed'));
    if (wanted === undefined)
      stream.on('cancelled', () => this.#links.end(link, 'it was cancelled'));
    if (this.#stopped) this.#links.end(link, 'this server is stopping');
    else this.#flush(link);
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      for (const link of this.#links.all) this.#flush(link);
    });
  }

  #flush(link: Link): void {
    const { session, stream } = link;
    const now = this.#clock.now();
    while (!link.over && stream.writable && !stream.writableNeedDrain) {
      const frame = session.next(now);
      if (frame === undefined) break;
      stream.write({ frame });
    }
    if (!link.over) this.#arm(link, now);
  }

  #arm(link: Link, now: number): void {
    link.timer?.cancel();
    const delayMs = Math.max(MIN_TIMER_MS, link.session.nextDeadline() - now);
    link.timer = this.#clock.setTimer(delayMs, () => {
      this.#links.apply(link, link.session.tick(this.#clock.now()));
      if (!link.over) this.#flush(link);
    });
  }
}
