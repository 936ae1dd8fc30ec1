import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { GrpcServer } from '../rpc/grpc-server.ts';
import { HealthService } from '../rpc/health.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import type { FirstFlight } from './first-flights.ts';
import { factToWire, type Member, memberToWire } from './member.ts';
import {
  type MemberState,
  Membership,
  type MembershipEffect,
  type MembershipInput,
} from './membership.ts';
import { MembershipService } from './membership-service.ts';
import { OWN_PROTOCOL } from '../rpc/protocol.ts';
import type { RecordKey, RecordUpdate } from './record.ts';
import { Registrar } from './registrar.ts';
import type { Accepted } from './registration.ts';
import type { ReplicationEffect, ReplicationSource } from './replication.ts';
import { ReplicationService } from './replication-service.ts';

export interface ClusterOptions {
  readonly selfId: string;
  readonly listen: readonly Address[];
  readonly loadBalancers: readonly string[];
  readonly tls: ClusterTls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What this server owns and holds. */
  readonly table: Omit<ReplicationSource, 'hello' | 'unreachable'>;
  readonly handlers: ClusterHandlers;
  /** What fellow servers compute relays by this one from; empty: it does not relay. */
  readonly relaySecret: Uint8Array;
}

interface ClusterHandlers {
  /** What another server said of what it owns. */
  replicated(owner: string, effects: readonly ReplicationEffect[]): void;
  /** The stream to another server is down: it may be dead. */
  doubted(owner: string): void;
  /** Another server is dead. */
  purge(owner: string): void;
  /** Peers may be registered from now on. */
  serve(): void;
  /** A load balancer says who is on its list. */
  members(members: readonly Member[]): void;
  /** Peers are sent here: a load balancer has this server on its list, or there is none. */
  listed(): void;
}

const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
const STOP_MS = 500;
/** How long the others have to take in that this server is gone. */
const GOODBYE_MS = 500;

/** One server among the others: health, membership, replication and registration. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #membership: Membership;
  readonly #replication: ReplicationService;
  readonly #service: MembershipService;
  readonly #registrar: Registrar;
  readonly #health = new HealthService();
  /** Why each load balancer does not list this server, said once. */
  readonly #complaints = new Map<string, string | undefined>();
  #grpc: GrpcServer | undefined;
  #self: Member | undefined;
  #timer: Timer | undefined;
  /** It is on no list any more, and is not to get on one again; those who wait are still served. */
  #leaving = false;
  #stopped = false;

  private constructor(options: ClusterOptions) {
    const { selfId, tls, clock, random, logger, table, loadBalancers } = options;
    this.#options = options;
    this.#membership = new Membership(selfId, random);
    const source: ReplicationSource = {
      ...table,
      hello: () => ({
        protocol: OWN_PROTOCOL,
        member: this.#self === undefined ? undefined : memberToWire(this.#self),
        members: this.#membership.facts().map(factToWire),
        relaySecret: Buffer.from(options.relaySecret),
      }),
      unreachable: () => this.#membership.unreachable(clock.now()),
    };
    this.#replication = new ReplicationService(tls, clock, source, {
      effects: (owner, effects) => this.#replicated(owner, effects),
      unlinked: (id, lastHeardAt, reason) => {
        logger.debug('stream to a server is down', { server: id, reason });
        if (lastHeardAt === undefined) this.#step({ type: 'unlinked', id });
        else {
          // Before anything is purged: what it owned says whom it concerns.
          if (!this.#stopped) options.handlers.doubted(id);
          this.#step({ type: 'unlinked', id, lastHeardAt });
        }
      },
      displaced: (member) =>
        this.#step({ type: 'notified', facts: [{ member, standing: 'removed' }] }),
    });
    this.#service = new MembershipService({
      ...{ tls, clock, logger },
      others: () => this.#membership.others(),
      onFacts: (facts) => this.#step({ type: 'notified', facts }),
    });
    this.#registrar = new Registrar({
      ...{ loadBalancers, tls, clock, random, logger },
      member: () => this.#ownMember(),
      handlers: {
        balancers: (balancers) => this.#step({ type: 'balancers', balancers }),
        registered: (balancer, accepted) => this.#registered(balancer, accepted),
        failed: (balancer) => this.#step({ type: 'registration-failed', balancer }),
      },
    });
  }

  /** Listens. @throws ChattyError as `GrpcServer.listen`, and CHATTY_CONFIG. */
  static async listen(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options);
    cluster.#grpc = await GrpcServer.listen({
      listen: options.listen,
      tls: options.tls,
      callers: ['loadbalancer', 'rendezvous'],
      maxRequestBytes: MAX_REQUEST_BYTES,
      addServices: (server) => {
        cluster.#health.addTo(server);
        cluster.#service.addTo(server);
        cluster.#replication.addTo(server);
      },
    });
    return cluster;
  }

  get addresses(): readonly Address[] {
    return this.#grpc?.addresses ?? [];
  }

  /** How many other servers there are in each state. */
  get members(): Readonly<Record<MemberState, number>> {
    return this.#membership.counts();
  }

  /** Joins the others as `self`. */
  join(self: Member): void {
    this.#self = self;
    this.#registrar.start();
  }

  /** Tells the others of a change to what this server owns. */
  changed(update: RecordUpdate): void {
    this.#replication.changed(update);
  }

  /** Passes on what a peer here sends ahead to a friend who is registered with another server. */
  pass(server: string, from: RecordKey, flight: FirstFlight): void {
    this.#replication.pass(server, from, flight);
  }

  /** Leaves every load balancer's list; peers are not sent here any more. */
  async leave(): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#health.set('not-serving');
    // They tell this server nothing any more, so what they said last counts no longer.
    this.#step({ type: 'balancers', balancers: [] });
    await this.#registrar.leave();
  }

  /** Says goodbye to the others and closes everything. */
  async stop(): Promise<void> {
    const { clock } = this.#options;
    this.#leaving = true;
    this.#stopped = true;
    this.#health.set('not-serving');
    this.#registrar.stop();
    this.#timer?.cancel();
    const self = this.#self;
    await this.#replication.stop(GOODBYE_MS);
    if (self !== undefined) {
      const facts = [{ member: self, standing: 'left' as const }];
      const told = this.#membership.others().map((other) => this.#service.tell(other, facts));
      const hurry = new AbortController();
      const timeout = clock.sleep(GOODBYE_MS, hurry.signal).catch(() => undefined);
      await Promise.race([Promise.all(told), timeout]);
      hurry.abort();
    }
    this.#service.stop();
    await this.#grpc?.stop(STOP_MS, clock);
  }

  #ownMember(): Member {
    if (this.#self === undefined) throw new Error('the server has not joined yet');
    return this.#self;
  }

  #registered(balancer: string, { members, listed, reason }: Accepted): void {
    const { handlers, logger } = this.#options;
    this.#step({ type: 'registered', balancer, members });
    handlers.members(members);
    if (listed) handlers.listed();
    const complaint = listed || !this.#membership.serving ? undefined : reason;
    if (complaint !== undefined && complaint !== this.#complaints.get(balancer)) {
      logger.warn('a load balancer does not list this server', { balancer, reason });
    }
    this.#complaints.set(balancer, complaint);
  }

  #replicated(owner: string, effects: readonly ReplicationEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'linked') {
        this.#options.logger.info('stream to a server is up', { server: owner });
        this.#step({ type: 'linked', member: effect.member });
        this.#step({ type: 'hearsay', facts: effect.facts });
      } else if (effect.type === 'reach') {
        this.#step({ type: 'reach', from: owner, unreachable: effect.unreachable });
      }
    }
    this.#options.handlers.replicated(owner, effects);
    if (effects.some(({ type }) => type === 'retain')) this.#step({ type: 'snapshot', id: owner });
  }

  #step(input: MembershipInput): void {
    const now = this.#options.clock.now();
    for (const effect of this.#membership.step(input, now)) this.#act(effect);
    this.#arm(now);
  }

  #act(effect: MembershipEffect): void {
    const { handlers, loadBalancers, logger } = this.#options;
    if (this.#stopped) return;
    switch (effect.type) {
      case 'dial':
        // Its outcome is an input of its own: not within this step.
        queueMicrotask(() => this.#replication.dial(effect.member));
        break;
      case 'nudge':
        void this.#service.tell(effect.member, [{ member: this.#ownMember(), standing: 'alive' }]);
        break;
      case 'purge':
        logger.warn('a server is gone', { server: effect.id });
        handlers.purge(effect.id);
        break;
      case 'serve':
        if (this.#leaving) break;
        this.#health.set('serving');
        handlers.serve();
        if (loadBalancers.length === 0) handlers.listed();
        this.#registrar.renew();
        break;
    }
  }

  #arm(now: number): void {
    this.#timer?.cancel();
    const at = this.#membership.nextDeadline(now);
    if (at === undefined || this.#stopped) return;
    this.#timer = this.#options.clock.setTimer(at - now, () => this.#step({ type: 'tick' }));
  }
}
