import { formatAddress } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, type ErrorCode, reasonOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { CheckOutcome, RegistryEffect, RegistryInput } from './events.ts';
import type { Member } from './member.ts';
import type { HandOut, Registry } from './registry.ts';
import type { ServerView } from './roster.ts';
import type { ServerConnections } from './server-connections.ts';

/** So many registrations wait for a health check at a time; each waits some seconds at most. */
const MAX_WAITING_CALLS = 2_000;

export type Answer = Extract<RegistryEffect, { kind: 'answer' }>;
type Refusal = Extract<RegistryEffect, { kind: 'refuse' }>['why'];

const REFUSALS: Readonly<Record<Refusal, readonly [ErrorCode, string]>> = {
  outdated: ['CHATTY_REPLACED', 'a newer registration of this server, or its goodbye, came before'],
  'address-taken': ['CHATTY_REPLACED', 'a server that began later has registered this address'],
  full: ['CHATTY_OVERLOADED', 'this load balancer has as many servers as it takes'],
};

/** Gives the registry its inputs and the time, and does what it says. */
export class RegistryRunner {
  readonly #registry: Registry;
  readonly #connections: ServerConnections;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #calls = new Map<
    number,
    { resolve: (answer: Answer) => void; reject: (error: ChattyError) => void }
  >();
  readonly #checks: Record<CheckOutcome, number> = {
    ...{ serving: 0, 'not-serving': 0, refused: 0, silent: 0 },
  };
  #lastCall = 0;
  readonly #alarm: Alarm;
  #stopped = false;

  constructor(registry: Registry, connections: ServerConnections, clock: Clock, logger: Logger) {
    this.#registry = registry;
    this.#connections = connections;
    this.#clock = clock;
    this.#logger = logger;
    this.#alarm = new Alarm(clock, () => this.#feed({ kind: 'tick' }));
  }

  /**
   * Registers a server; resolves after the health check that decides whether it is listed.
   * @throws ChattyError CHATTY_REPLACED or CHATTY_OVERLOADED.
   */
  register(member: Member, balancers: readonly string[]): Promise<Answer> {
    if (this.#stopped || this.#calls.size >= MAX_WAITING_CALLS) {
      const what = this.#stopped ? 'this load balancer stops' : 'too many registrations at once';
      return Promise.reject(new ChattyError('CHATTY_OVERLOADED', what));
    }
    return new Promise((resolve, reject) => {
      this.#lastCall += 1;
      const call = this.#lastCall;
      this.#calls.set(call, { resolve, reject });
      this.#feed({ kind: 'register', call, member, balancers });
    });
  }

  deregister(id: string, incarnation: bigint): void {
    this.#feed({ kind: 'deregister', id, incarnation });
  }

  handOut(): HandOut | undefined {
    return this.#registry.handOut(this.#clock.now());
  }

  /** Every registered server, and what this balancer thinks of itself. */
  view(): { readonly servers: readonly ServerView[]; readonly doubtsItself: boolean } {
    const servers = this.#registry.view(this.#clock.now());
    return { servers, doubtsItself: this.#registry.doubtsItself };
  }

  /** Health checks made since the start, by what they found. */
  get checks(): Readonly<Record<CheckOutcome, number>> {
    return { ...this.#checks };
  }

  /** Answers nobody any more and closes every connection to servers. */
  stop(): void {
    this.#stopped = true;
    this.#alarm.cancel();
    this.#connections.close();
    for (const { reject } of this.#calls.values()) {
      reject(new ChattyError('CHATTY_OVERLOADED', 'this load balancer stops'));
    }
    this.#calls.clear();
  }

  #feed(input: RegistryInput): void {
    if (this.#stopped) return;
    try {
      for (const effect of this.#registry.step(input, this.#clock.now())) this.#do(effect);
    } catch (error) {
      // A bug of ours; one input lost is better than every server's registration.
      this.#logger.error('a step of the registry failed', {
        input: input.kind,
        reason: reasonOf(error),
      });
    }
    this.#alarm.set(this.#registry.nextDeadline());
  }

  #do(effect: RegistryEffect): void {
    switch (effect.kind) {
      case 'check':
        this.#await(this.#connections.check(effect.member, effect.deadlineMs), (result) => {
          this.#checks[result.outcome] += 1;
          return { kind: 'checked', check: effect.check, ...result };
        });
        break;
      case 'probe':
        this.#await(
          this.#connections.probe(effect.via, effect.target, effect.deadlineMs),
          (found) => ({ kind: 'probed', probe: effect.probe, found }),
        );
        break;
      case 'notify':
        this.#await(
          this.#connections.notify(effect.to, effect.fact, effect.deadlineMs),
          (delivered) => ({ kind: 'notified', notice: effect.notice, delivered }),
        );
        break;
      case 'answer':
        this.#take(effect.call)?.resolve(effect);
        break;
      case 'refuse':
        this.#take(effect.call)?.reject(new ChattyError(...REFUSALS[effect.why]));
        break;
      case 'forget':
        this.#connections.forget(effect.id);
        break;
      case 'report':
        this.#report(effect);
    }
  }

  #await<Result>(work: Promise<Result>, input: (result: Result) => RegistryInput): void {
    work
      .then((result) => this.#feed(input(result)))
      .catch((error: unknown) => {
        this.#logger.error('what the registry asked for failed', { reason: reasonOf(error) });
      });
  }

  #take(call: number) {
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    return waiting;
  }

  #report({ event, member, reason }: Extract<RegistryEffect, { kind: 'report' }>): void {
    const fields = {
      reason,
      ...(member && {
        server: member.id,
        incarnation: member.incarnation,
        peers: member.peerAddresses.map(formatAddress),
        cluster: member.clusterAddresses.map(formatAddress),
      }),
    };
    if (event === 'removed' || event === 'self-distrust') this.#logger.warn(event, fields);
    else this.#logger.info(event, fields);
  }
}
