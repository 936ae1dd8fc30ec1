import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { callFailure, isSilence } from '../rpc/call-status.ts';
import { clientFor } from '../rpc/cluster-channel.ts';
import { firstSuccess } from '../rpc/first-success.ts';
import {
  MembershipServiceClient,
  MemberState,
  type NotifyResponse,
  type ProbeResponse,
} from '../rpc/generated/chatty/v1/membership.ts';
import { HealthClient } from '../rpc/health.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import { unary } from '../rpc/unary-call.ts';
import { addressToWire } from '../rpc/wire-address.ts';
import type { CheckOutcome, Fact } from './events.ts';
import { type Member, memberToWire } from './member.ts';

/** A server's second address is tried this long after its first. */
const STAGGER_MS = 250;
/** What is left of a probe's deadline for the way to the prober and back. */
const PROBE_MARGIN_MS = 200;

const STATES: Readonly<Record<Fact['state'], MemberState>> = {
  alive: MemberState.MEMBER_STATE_ALIVE,
  removed: MemberState.MEMBER_STATE_REMOVED,
  left: MemberState.MEMBER_STATE_LEFT,
};

/** Carries out what the registry asks of servers. Nothing here throws: failing is an answer. */
export class ServerConnections {
  readonly #tls: ClusterTls;
  readonly #clock: Clock;
  readonly #stopped = new AbortController();
  /** Kept from check to check, one an address, by the member's id. */
  readonly #health = new Map<string, HealthClient[]>();

  constructor(tls: ClusterTls, clock: Clock) {
    this.#tls = tls;
    this.#clock = clock;
  }

  /** Asks a server for its health at all its addresses at once; the best answer counts. */
  async check(
    member: Member,
    deadlineMs: number,
  ): Promise<{ outcome: CheckOutcome; detail: string }> {
    let clients = this.#health.get(member.id);
    if (clients === undefined) {
      clients = member.clusterAddresses.map((address) => new HealthClient(address, this.#tls));
      this.#health.set(member.id, clients);
    }
    const limits = { deadlineMs, clock: this.#clock, signal: this.#stopped.signal };
    const found = await Promise.allSettled(clients.map((client) => client.check(limits)));
    const answers = found.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    if (answers.includes('serving')) return { outcome: 'serving', detail: '' };
    if (answers.length > 0) return { outcome: 'not-serving', detail: 'it says it does not serve' };

    // What failed once is not asked again: it may be half-open, or wait before it connects again.
    if (this.#health.get(member.id) === clients) this.forget(member.id);
    const errors = found.map((each): unknown => ('reason' in each ? each.reason : undefined));
    const refusal = errors.find((error) => !isSilence(error));
    return refusal === undefined
      ? { outcome: 'silent', detail: 'no answer in time' }
      : { outcome: 'refused', detail: callFailure(refusal) };
  }

  /** Has one server check another. */
  async probe(
    via: Member,
    target: Member,
    deadlineMs: number,
  ): Promise<'healthy' | 'unhealthy' | 'no-answer'> {
    const request = {
      addresses: target.clusterAddresses.map(addressToWire),
      deadlineMs: Math.max(1, deadlineMs - PROBE_MARGIN_MS),
    };
    try {
      const { healthy } = await this.#ask(via, deadlineMs, (client, limits) =>
        unary<ProbeResponse>(
          (metadata, options, done) => client.probe(request, metadata, options, done),
          limits,
        ),
      );
      return healthy ? 'healthy' : 'unhealthy';
    } catch {
      return 'no-answer';
    }
  }

  /** Tells a server a fact, for it to tell the rest. @returns whether it has it. */
  async notify(to: Member, fact: Fact, deadlineMs: number): Promise<boolean> {
    const facts = [{ member: memberToWire(fact.member), state: STATES[fact.state] }];
    const request = { facts, spread: true };
    try {
      await this.#ask(to, deadlineMs, (client, limits) =>
        unary<NotifyResponse>(
          (metadata, options, done) => client.notify(request, metadata, options, done),
          limits,
        ),
      );
      return true;
    } catch {
      return false;
    }
  }

  /** Closes the connections to a server. */
  forget(id: string): void {
    for (const client of this.#health.get(id) ?? []) client.close();
    this.#health.delete(id);
  }

  /** Closes everything; what is under way fails. */
  close(): void {
    this.#stopped.abort(new Error('the load balancer stops'));
    for (const id of [...this.#health.keys()]) this.forget(id);
  }

  /** One call on a connection of its own, at whichever of the server's addresses answers first. */
  async #ask<Response>(
    member: Member,
    deadlineMs: number,
    call: (
      client: MembershipServiceClient,
      limits: { deadlineMs: number; clock: Clock; signal: AbortSignal },
    ) => Promise<Response>,
  ): Promise<Response> {
    const clock = this.#clock;
    const attempt = async (address: Address, signal: AbortSignal): Promise<Response> => {
      const client = clientFor(MembershipServiceClient, address, this.#tls, 'rendezvous');
      try {
        return await call(client, { deadlineMs, clock, signal });
      } finally {
        client.close();
      }
    };
    const signal = this.#stopped.signal;
    return firstSuccess(member.clusterAddresses, attempt, { staggerMs: STAGGER_MS, clock, signal });
  }
}
