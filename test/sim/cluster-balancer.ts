import { formatAddress } from '../../src/base/address.ts';
import type { Timer } from '../../src/base/clock.ts';
import type { RegistryEffect, RegistryInput } from '../../src/loadbalancer/events.ts';
import type { Member as ListedMember } from '../../src/loadbalancer/member.ts';
import type { Registry } from '../../src/loadbalancer/registry.ts';
import type { Member } from '../../src/rendezvous/member.ts';
import type { Network } from './cluster-network.ts';
import type { Parts } from './cluster-parts.ts';
import { Program, type Request, type Response } from './cluster-program.ts';

/** What is left of a probe's deadline for the way to the prober and back. */
const PROBE_MARGIN_MS = 200;

/** What the world wants to know of its load balancers. */
export interface BalancerWatch {
  removed(balancer: SimBalancer, id: string, reason: string): void;
}

/** A load balancer: its registry, and what its shells do. */
export class SimBalancer extends Program {
  readonly #registry: Registry;
  readonly #watch: BalancerWatch;
  readonly #calls = new Map<number, (response: Response) => void>();
  #lastCall = 0;
  #timer: Timer | undefined;
  /** Those it hands out, by id: since when. */
  readonly listed = new Map<string, number>();

  constructor(network: Network, label: string, place: string, parts: Parts, watch: BalancerWatch) {
    super(network, label, place);
    this.#watch = watch;
    this.#registry = parts.registry(network.random);
    network.listen(this.address, this);
  }

  get address(): string {
    return `${this.place}:50051`;
  }

  override receive(request: Request, answer: (response: Response) => void): void {
    switch (request.kind) {
      case 'register': {
        this.#lastCall += 1;
        const call = this.#lastCall;
        this.#calls.set(call, answer);
        this.#step({ kind: 'register', call, member: listed(request.member), balancers: [] });
        break;
      }
      case 'deregister':
        this.#step({
          kind: 'deregister',
          id: request.id,
          incarnation: BigInt(request.incarnation),
        });
        answer({ kind: 'done' });
        break;
      case 'get-servers': {
        const handOut = this.#registry.handOut(this.now());
        if (handOut === undefined) answer({ kind: 'error' });
        else answer({ kind: 'members', members: handOut.servers.map(unlisted) });
        break;
      }
      default:
        answer({ kind: 'error' });
    }
  }

  #step(input: RegistryInput): void {
    if (!this.alive) return;
    for (const effect of this.#registry.step(input, this.now())) this.#do(effect);
    this.#timer?.cancel();
    const next = this.#registry.nextDeadline();
    if (next === undefined) return;
    this.#timer = this.setTimer(Math.max(0, next - this.now()), () => this.#step({ kind: 'tick' }));
  }

  #do(effect: RegistryEffect): void {
    const { network } = this;
    switch (effect.kind) {
      case 'check': {
        const { check, member, deadlineMs } = effect;
        network.call(this, addressOf(member), { kind: 'health' }, deadlineMs, (response) =>
          this.#step({ kind: 'checked', check, outcome: outcomeOf(response) }),
        );
        break;
      }
      case 'probe': {
        const { probe, via, target } = effect;
        const request: Request = {
          kind: 'probe',
          address: addressOf(target),
          deadlineMs: effect.deadlineMs - PROBE_MARGIN_MS,
        };
        network.call(this, addressOf(via), request, effect.deadlineMs, (response) => {
          const found =
            response.kind !== 'health' ? 'no-answer' : response.healthy ? 'healthy' : 'unhealthy';
          this.#step({ kind: 'probed', probe, found });
        });
        break;
      }
      case 'notify': {
        const { notice, to, fact, deadlineMs } = effect;
        this.say(`tells ${to.id.slice(0, 4)} that ${fact.member.id.slice(0, 4)} is ${fact.state}`);
        const facts = [{ member: unlisted(fact.member), standing: fact.state }];
        network.call(
          this,
          addressOf(to),
          { kind: 'notify', facts, spread: true },
          deadlineMs,
          ({ kind }) => this.#step({ kind: 'notified', notice, delivered: kind === 'done' }),
        );
        break;
      }
      case 'answer': {
        const members = effect.members.map(unlisted);
        this.#take(effect.call)?.({ kind: 'registered', listed: effect.listed, members });
        break;
      }
      case 'refuse':
        this.say(`refuses a registration: ${effect.why}`);
        this.#take(effect.call)?.({ kind: 'error' });
        break;
      case 'forget':
        break;
      case 'report': {
        const { event, member, reason } = effect;
        this.say(`${event} ${member?.id.slice(0, 4) ?? ''}: ${reason}`);
        if (member === undefined) break;
        if (event === 'listed') this.listed.set(member.id, this.now());
        else this.listed.delete(member.id);
        if (event === 'removed') this.#watch.removed(this, member.id, reason);
      }
    }
  }

  #take(call: number) {
    const answer = this.#calls.get(call);
    this.#calls.delete(call);
    return answer;
  }
}

function outcomeOf(response: Response): 'serving' | 'not-serving' | 'refused' | 'silent' {
  if (response.kind === 'health') return response.healthy ? 'serving' : 'not-serving';
  return response.kind === 'silent' ? 'silent' : 'refused';
}

function addressOf(member: ListedMember): string {
  const [address] = member.clusterAddresses;
  return address === undefined ? '' : formatAddress(address);
}

/** A member as balancers have it, and as servers do. */
function listed(member: Member): ListedMember {
  return { ...member, incarnation: BigInt(member.incarnation) };
}

function unlisted(member: ListedMember): Member {
  return { ...member, incarnation: Number(member.incarnation) };
}
