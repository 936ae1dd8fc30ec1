import type { Server, ServerUnaryCall } from '@grpc/grpc-js';
import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { callFailure } from '../rpc/call-status.ts';
import { clientFor } from '../rpc/cluster-channel.ts';
import {
  MembershipServiceClient,
  MembershipServiceService,
  type NotifyRequest,
  type NotifyResponse,
  type ProbeRequest,
  type ProbeResponse,
} from '../rpc/generated/chatty/v1/membership.ts';
import { HealthClient } from '../rpc/health.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import { unary } from '../rpc/unary-call.ts';
import { unaryHandler } from '../rpc/unary-handler.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import { factsFromWire, factToWire, type Member, type MemberFact } from './member.ts';

const MAX_FACTS = 1_000;
const MAX_PROBE_ADDRESSES = 8;
const MAX_PROBES_AT_ONCE = 64;
const MAX_PROBE_MS = 2_000;
const TELL_WITHIN_MS = 2_000;

export interface MembershipServiceOptions {
  readonly tls: ClusterTls;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The members a notification is spread to. */
  readonly others: () => readonly Member[];
  readonly onFacts: (facts: readonly MemberFact[]) => void;
}

/** What load balancers and other servers ask of this one, and what it tells others on its own. */
export class MembershipService {
  readonly #options: MembershipServiceOptions;
  /** What is still to be told, by whom and whom about: the newest fact only. */
  readonly #untold = new Map<string, Map<string, MemberFact>>();
  readonly #stop = new AbortController();
  #probes = 0;

  constructor(options: MembershipServiceOptions) {
    this.#options = options;
  }

  addTo(server: Server): void {
    const onFault = (error: unknown): void => {
      if (error instanceof ChattyError) return;
      this.#options.logger.error('a membership call failed', { reason: reasonOf(error) });
    };
    server.addService(MembershipServiceService, {
      notify: unaryHandler((call) => this.#notify(call), onFault),
      probe: unaryHandler((call) => this.#probe(call), onFault),
    });
  }

  /** Tells a member facts; one that cannot be told hears of them from the load balancers. */
  tell(member: Member, facts: readonly MemberFact[]): Promise<void> {
    const waiting = this.#untold.get(member.id);
    const untold = waiting ?? new Map<string, MemberFact>();
    for (const fact of facts) {
      if (untold.size < MAX_FACTS || untold.has(fact.member.id)) untold.set(fact.member.id, fact);
    }
    if (waiting !== undefined) return Promise.resolve();
    this.#untold.set(member.id, untold);
    return this.#tellAll(member, untold);
  }

  /** Ends every call that is under way. */
  stop(): void {
    this.#stop.abort(new Error('this server is stopping'));
  }

  #notify({ request }: ServerUnaryCall<NotifyRequest, NotifyResponse>): NotifyResponse {
    const facts = factsFromWire(request.facts, MAX_FACTS);
    this.#options.onFacts(facts);
    if (!request.spread) return {};
    const about = new Set(facts.map(({ member }) => member.id));
    for (const other of this.#options.others()) {
      // Whom it is about knows, or cannot be told.
      if (!about.has(other.id) || about.size > 1) void this.tell(other, facts);
    }
    return {};
  }

  async #tellAll(member: Member, untold: Map<string, MemberFact>): Promise<void> {
    try {
      while (untold.size > 0) {
        const facts = [...untold.values()];
        untold.clear();
        await this.#tellSomewhere(member, facts);
      }
    } finally {
      this.#untold.delete(member.id);
    }
  }

  /** Tells the member at the first of its addresses that answers. */
  async #tellSomewhere(member: Member, facts: readonly MemberFact[]): Promise<void> {
    const { tls, clock, logger } = this.#options;
    const request = { facts: facts.map(factToWire), spread: false };
    for (const address of member.clusterAddresses) {
      const client = clientFor(MembershipServiceClient, address, tls, 'rendezvous');
      try {
        await unary<NotifyResponse>(
          (metadata, options, done) => client.notify(request, metadata, options, done),
          { deadlineMs: TELL_WITHIN_MS, clock, signal: this.#stop.signal },
        );
        return;
      } catch (error) {
        logger.debug('could not tell a server', { server: member.id, reason: callFailure(error) });
      } finally {
        client.close();
      }
    }
  }

  async #probe({ request }: ServerUnaryCall<ProbeRequest, ProbeResponse>): Promise<ProbeResponse> {
    const addresses = addressesFromWire(request.addresses, MAX_PROBE_ADDRESSES);
    if (this.#probes >= MAX_PROBES_AT_ONCE) {
      throw new ChattyError('CHATTY_OVERLOADED', 'too many probes at once');
    }
    this.#probes += 1;
    try {
      const deadlineMs = Math.min(MAX_PROBE_MS, request.deadlineMs || MAX_PROBE_MS);
      await Promise.any(addresses.map((address) => this.#check(address, deadlineMs)));
      return { healthy: true };
    } catch {
      return { healthy: false };
    } finally {
      this.#probes -= 1;
    }
  }

  async #check(address: Address, deadlineMs: number): Promise<void> {
    const client = new HealthClient(address, this.#options.tls);
    try {
      const { clock } = this.#options;
      const health = await client.check({ deadlineMs, clock, signal: this.#stop.signal });
      if (health !== 'serving') throw new Error('it does not serve');
    } finally {
      client.close();
    }
  }
}
