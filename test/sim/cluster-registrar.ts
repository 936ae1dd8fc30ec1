import { backoffDelayMs } from '../../src/base/backoff.ts';
import type { Timer } from '../../src/base/clock.ts';
import type { MembershipInput } from '../../src/rendezvous/membership.ts';
import type { Request } from './cluster-program.ts';
import type { SimServer } from './cluster-server.ts';

/** As the registrar has them. */
const RESOLVE_EVERY_MS = 10_000;
const RENEW_EVERY_MS = 5_000;
const REGISTER_RETRY = { initialMs: 250, maxMs: RENEW_EVERY_MS };
const REGISTER_WITHIN_MS = 3_000;
const DEREGISTER_WITHIN_MS = 1_000;

interface Registering {
  unlisted: number;
  timer: Timer | undefined;
  /** Counts the calls, so that an answer to one before is told from the last. */
  call: number;
}

/** How a server keeps itself registered with every load balancer behind the name. */
export class SimRegistrar {
  readonly #server: SimServer;
  readonly #balancers: () => readonly string[];
  readonly #step: (input: MembershipInput) => void;
  readonly #registering = new Map<string, Registering>();
  #unanswered = 0;

  /** @param balancers the addresses behind the name. */
  constructor(
    server: SimServer,
    balancers: () => readonly string[],
    step: (input: MembershipInput) => void,
  ) {
    this.#server = server;
    this.#balancers = balancers;
    this.#step = step;
  }

  /** Whether every load balancer has answered that it was left, or has not in time. */
  get hasLeft(): boolean {
    return this.#unanswered === 0;
  }

  /** Finds out which load balancers there are, now and from now on. */
  resolve(): void {
    if (this.#server.draining) return;
    const balancers = this.#balancers();
    for (const [balancer, { timer }] of [...this.#registering]) {
      if (balancers.includes(balancer)) continue;
      timer?.cancel();
      this.#registering.delete(balancer);
    }
    this.#step({ type: 'balancers', balancers });
    for (const balancer of balancers) {
      if (this.#registering.has(balancer)) continue;
      this.#registering.set(balancer, { unlisted: 0, timer: undefined, call: 0 });
      this.#register(balancer);
    }
    this.#server.setTimer(RESOLVE_EVERY_MS, () => this.resolve());
  }

  /** Registers again at once. */
  renew(): void {
    for (const [balancer, registering] of this.#registering) {
      // One that is being asked is asked again at once.
      if (registering.timer === undefined) continue;
      registering.timer.cancel();
      this.#register(balancer);
    }
  }

  #register(balancer: string): void {
    const registering = this.#registering.get(balancer);
    if (registering === undefined || this.#server.draining) return;
    registering.timer = undefined;
    registering.call += 1;
    const { call } = registering;
    const { incarnation } = this.#server.member;
    const request: Request = { kind: 'register', member: this.#server.member };
    this.#server.network.call(this.#server, balancer, request, REGISTER_WITHIN_MS, (response) => {
      if (this.#registering.get(balancer)?.call !== call || this.#server.draining) return;
      const listed = response.kind === 'registered' && response.listed;
      if (response.kind === 'registered') {
        this.#step({ type: 'registered', balancer, members: response.members });
      } else this.#step({ type: 'registration-failed', balancer });
      registering.unlisted = listed ? 0 : registering.unlisted + 1;
      const changed = this.#server.member.incarnation !== incarnation;
      const delayMs = changed
        ? 0
        : listed
          ? RENEW_EVERY_MS
          : backoffDelayMs(registering.unlisted, REGISTER_RETRY, this.#server.network.random);
      registering.timer = this.#server.setTimer(delayMs, () => this.#register(balancer));
    });
  }

  leave(): void {
    this.#unanswered = this.#registering.size;
    for (const [balancer, { timer }] of this.#registering) {
      timer?.cancel();
      const { network, member } = this.#server;
      const { id, incarnation } = member;
      const request: Request = { kind: 'deregister', id, incarnation };
      network.call(this.#server, balancer, request, DEREGISTER_WITHIN_MS, () => {
        this.#unanswered -= 1;
      });
    }
    this.#registering.clear();
  }
}
