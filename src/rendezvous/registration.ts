import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { clientFor } from '../rpc/cluster-channel.ts';
import {
  type DeregisterResponse,
  type RegisterResponse,
  RegistrationServiceClient,
} from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { OWN_PROTOCOL } from '../rpc/protocol.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import { unary } from '../rpc/unary-call.ts';
import { type Member, memberFromWire, memberToWire } from './member.ts';

/** What a load balancer answers to a registration. */
export interface Accepted {
  /** The live servers. */
  readonly members: readonly Member[];
  /** Whether this server is on the list handed to peers, and if not, why. */
  readonly listed: boolean;
  readonly reason: string;
  /** The balancer's addresses for peers. */
  readonly advertised: readonly string[];
}

/** It answers after a check of our health, and perhaps a second by another server. */
const REGISTER_WITHIN_MS = 3_000;
const LEAVE_WITHIN_MS = 1_000;
const MAX_MEMBERS = 1_000;
const MAX_ADVERTISED = 16;
const MAX_KNOWN = 64;

/** This server's registration with one load balancer. */
export class Registration {
  /** The balancer's address, as text. */
  readonly balancer: string;
  readonly #client: RegistrationServiceClient;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #last: Member | undefined;

  constructor(
    balancer: string,
    address: Address,
    tls: ClusterTls,
    clock: Clock,
    signal: AbortSignal,
  ) {
    this.balancer = balancer;
    this.#client = clientFor(RegistrationServiceClient, address, tls, 'loadbalancer');
    this.#clock = clock;
    this.#signal = signal;
  }

  /**
   * Registers, or renews.
   * @param known the addresses for peers of all load balancers known here.
   * @throws the gRPC ServiceError the call failed with.
   */
  async register(member: Member, known: readonly string[]): Promise<Accepted> {
    this.#last = member;
    const request = {
      protocol: OWN_PROTOCOL,
      member: memberToWire(member),
      knownLoadBalancers: known.slice(0, MAX_KNOWN),
    };
    const answer = await unary<RegisterResponse>(
      (metadata, options, done) => this.#client.register(request, metadata, options, done),
      { deadlineMs: REGISTER_WITHIN_MS, clock: this.#clock, signal: this.#signal },
    );
    return {
      members: answer.members
        .slice(0, MAX_MEMBERS)
        .map(memberFromWire)
        .filter((other) => other !== undefined),
      listed: answer.listed,
      reason: answer.notListedBecause,
      advertised: answer.advertised.slice(0, MAX_ADVERTISED),
    };
  }

  /** Leaves the list, if it was ever on it. @throws as `register`. */
  async leave(): Promise<void> {
    if (this.#last === undefined) return;
    const request = { id: this.#last.id, incarnation: BigInt(this.#last.incarnation) };
    await unary<DeregisterResponse>(
      (metadata, options, done) => this.#client.deregister(request, metadata, options, done),
      { deadlineMs: LEAVE_WITHIN_MS, clock: this.#clock },
    );
  }

  close(): void {
    this.#client.close();
  }
}
