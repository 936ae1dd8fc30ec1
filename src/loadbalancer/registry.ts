import type { Address } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { CheckOutcome, RegistryEffect, RegistryInput } from './events.ts';
import { KnownBalancers } from './known-balancers.ts';
import type { Member } from './member.ts';
import { Notices } from './notices.ts';
import { Roster, type RosterEntry, type ServerView } from './roster.ts';
import { SelfDoubt } from './self-doubt.ts';
import type { LoadBalancerSettings } from './settings.ts';
import { Suspicion } from './suspicion.ts';
import { Tombstones } from './tombstones.ts';

/** So many checks of one unlisted server run at a time; further registrations share the last. */
const CHECKS_PER_MEMBER = 2;
/** A server that lives renews its registration every 5 s, and a lost packet may delay that by 1 s. */
const RENEWED_WITHIN_MS = 6_000;
/** Ticks this late mean that the balancer itself stood still. */
const STALL_MS = 1_000;

interface Check {
  readonly number: number;
  readonly id: string;
  readonly incarnation: bigint;
  readonly purpose: 'round' | 'registration' | 'recheck';
  /** The round it belongs to. */
  readonly round: number;
  /** Registrations that wait for the outcome. */
  readonly calls: number[];
  /** Whether the others are told even if the server was listed before: it has changed. */
  readonly changed: boolean;
}

/** What a peer is told. */
export interface HandOut {
  readonly servers: readonly Member[];
  readonly stunAddresses: readonly Address[];
  /** Load balancers' peer addresses; this one's own may be among them. */
  readonly balancers: readonly string[];
}

/**
 * Who is registered, who is alive, whose turn it is, and who is told: everything the load balancer
 * decides, without sockets or timers. Inputs go into `step`; what it returns is to be done; and a
 * `tick` is due at `nextDeadline`.
 *
 * A server is *registered* from its first registration until its lease ends, it says goodbye or it is
 * removed; *listed*, which means handed out, from the first check that finds it serving.
 */
export class Registry {
  readonly #settings: LoadBalancerSettings;
  readonly #random: Random;
  readonly #roster = new Roster();
  readonly #checks = new Map<number, Check>();
  /** Outstanding probes, by number: whom each is about. */
  readonly #probes = new Map<number, Suspicion>();
  readonly #gone = new Tombstones();
  readonly #notices: Notices;
  readonly #balancers: KnownBalancers;
  readonly #doubt: SelfDoubt;
  #nextRoundAt: number | undefined;
  #round = 0;
  #lastNumber = 0;

  constructor(settings: LoadBalancerSettings, random: Random) {
    this.#settings = settings;
    this.#random = random;
    this.#notices = new Notices(random, settings.notifyDeadlineMs);
    this.#balancers = new KnownBalancers();
    this.#doubt = new SelfDoubt(settings.distrustMs);
  }

  step(input: RegistryInput, now: number): RegistryEffect[] {
    switch (input.kind) {
      case 'register':
        this.#balancers.learn(input.balancers, now);
        return this.#register(input.call, input.member, now);
      case 'deregister':
        return this.#deregister(input.id, input.incarnation, now);
      case 'checked':
        return this.#checked(input.check, input.outcome, input.detail ?? input.outcome, now);
      case 'probed':
        return this.#probed(input.probe, input.found, now);
      case 'notified':
        return this.#notices.result(input.notice, input.delivered, this.#roster.healthy());
      case 'tick':
        return this.#tick(now);
    }
  }

  /** When the next `tick` is due; undefined while nobody is registered. */
  nextDeadline(): number | undefined {
    let next = this.#nextRoundAt;
    const sooner = (at: number | undefined): void => {
      if (at !== undefined && (next === undefined || at < next)) next = at;
    };
    sooner(this.#doubt.deadline);
    if (!this.#doubt.doubting) for (const entry of this.#roster.values()) sooner(entry.leaseUntil);
    return next;
  }

  /** Every registered server, for operators. */
  view(now: number): ServerView[] {
    return this.#roster.view(now);
  }

  /** Whether the balancer takes its own network for broken. */
  get doubtsItself(): boolean {
    return this.#doubt.doubting;
  }

  /** The next peer's servers, the first in turn first; undefined where none is listed. */
  handOut(now: number): HandOut | undefined {
    const turn = this.#roster.nextTurn();
    return turn && { ...turn, balancers: this.#balancers.list(now) };
  }

  #register(call: number, member: Member, now: number): RegistryEffect[] {
    if (this.#gone.forbids(member, now)) return [{ kind: 'refuse', call, why: 'outdated' }];
    const known = this.#roster.get(member.id);
    if (known !== undefined && member.incarnation < known.member.incarnation) {
      return [{ kind: 'refuse', call, why: 'outdated' }];
    }
    const holders = this.#roster.holdersOf(member);
    // Whoever answers at an address now is the one that began later: what the other registered there
    // belongs to a program that is gone. A calendar that was set back hides which began later; then
    // the one that renews is the one there is.
    const renewed = (holder: RosterEntry): boolean =>
      now < holder.leaseUntil - this.#settings.leaseMs + RENEWED_WITHIN_MS;
    if (holders.some((each) => each.member.incarnation >= member.incarnation && renewed(each))) {
      return [{ kind: 'refuse', call, why: 'address-taken' }];
    }
    const effects = holders.flatMap((holder) =>
      this.#remove(holder, 'removed', 'another server has its address now', now),
    );
    if (known === undefined && this.#roster.size >= this.#settings.maxMembers) {
      return [...effects, { kind: 'refuse', call, why: 'full' }];
    }

    const changed = known !== undefined && member.incarnation > known.member.incarnation;
    if (changed) effects.push({ kind: 'forget', id: member.id });
    const leaseUntil = now + this.#settings.leaseMs;
    const entry: RosterEntry =
      known === undefined || changed
        ? {
            ...{ member, leaseUntil, renewedAt: now, listed: known?.listed ?? false },
            ...{ suspicion: undefined, lastCheck: undefined },
          }
        : Object.assign(known, { leaseUntil, renewedAt: now });
    this.#roster.set(member.id, entry);
    this.#nextRoundAt ??= now + this.#settings.checkIntervalMs;

    if (entry.listed && !changed) return [...effects, this.#answer(call, entry, '')];
    return [...effects, ...this.#checkRegistration(entry, call, changed)];
  }

  #checkRegistration(entry: RosterEntry, call: number, changed: boolean): RegistryEffect[] {
    const { id, incarnation } = entry.member;
    const running = [...this.#checks.values()].filter(
      (check) =>
        check.purpose === 'registration' && check.id === id && check.incarnation === incarnation,
    );
    const last = running.at(-1);
    if (last !== undefined && running.length >= CHECKS_PER_MEMBER) {
      last.calls.push(call);
      return [];
    }
    return [this.#check(entry, 'registration', { calls: [call], changed })];
  }

  #deregister(id: string, incarnation: bigint, now: number): RegistryEffect[] {
    const entry = this.#roster.get(id);
    if (entry !== undefined && entry.member.incarnation > incarnation) return [];
    this.#gone.add({ id, incarnation }, 'left', now);
    return entry === undefined ? [] : this.#remove(entry, 'left', 'it said goodbye', now);
  }

  #checked(number: number, outcome: CheckOutcome, detail: string, now: number): RegistryEffect[] {
    const check = this.#checks.get(number);
    if (check === undefined) return [];
    this.#checks.delete(number);
    const entry = this.#roster.get(check.id);
    const current = entry?.member.incarnation === check.incarnation;
    const effects = outcome === 'silent' ? [] : this.#heard(now);
    if (entry !== undefined && current) {
      entry.lastCheck = { outcome, at: now };
      effects.push(
        ...(outcome === 'serving'
          ? this.#serves(entry, check.changed)
          : this.#missed(entry, check, outcome, detail, now)),
      );
    }
    const reason =
      outcome === 'not-serving' ? 'it does not serve yet' : `its health check failed: ${detail}`;
    for (const call of check.calls) effects.push(this.#answer(call, entry, reason));
    return effects;
  }

  #serves(entry: RosterEntry, changed: boolean): RegistryEffect[] {
    const { member } = entry;
    const arrives = !entry.listed;
    entry.listed = true;
    entry.suspicion = undefined;
    if (!arrives && !changed) return [];
    const told = this.#notices.tell({ member, state: 'alive' }, this.#roster.healthy());
    const reason = arrives ? 'it serves' : 'it has changed';
    return [{ kind: 'report', event: 'listed', member, reason }, ...told];
  }

  #missed(
    entry: RosterEntry,
    check: Check,
    outcome: CheckOutcome,
    detail: string,
    now: number,
  ): RegistryEffect[] {
    // Until a server has served once it is starting, and nobody misses it.
    if (!entry.listed) return [];
    if (check.purpose === 'recheck') {
      entry.suspicion?.recheckFailed(detail);
      return this.#decide(entry, now);
    }
    const ofThisRound = check.purpose === 'round' && check.round === this.#round;
    if (outcome === 'silent' && ofThisRound && this.#doubt.silence(now)) {
      for (const each of this.#roster.values()) each.suspicion = undefined;
      const reason = 'every server went silent in one round';
      return [{ kind: 'report', event: 'self-distrust', reason }];
    }
    if (this.#doubt.doubting || entry.suspicion !== undefined) return [];
    const newProberUntil = now + this.#settings.recheckDeadlineMs;
    const suspicion = new Suspicion(entry.member, detail, newProberUntil);
    entry.suspicion = suspicion;
    const recheck = this.#check(entry, 'recheck', {});
    return [recheck, ...this.#probe(entry, suspicion, now)];
  }

  /** Has other servers look at a suspect; where none can, the recheck alone counts. */
  #probe(entry: RosterEntry, suspicion: Suspicion, now: number): RegistryEffect[] {
    const deadlineMs = this.#settings.recheckDeadlineMs;
    const probers = suspicion.askMore(this.#roster.healthy(), now, this.#random);
    const effects = probers.map((via): RegistryEffect => {
      const probe = this.#number();
      this.#probes.set(probe, suspicion);
      return { kind: 'probe', probe, via, target: suspicion.member, deadlineMs };
    });
    return [...effects, ...this.#decide(entry, now)];
  }

  #probed(
    number: number,
    found: 'healthy' | 'unhealthy' | 'no-answer',
    now: number,
  ): RegistryEffect[] {
    const suspicion = this.#probes.get(number);
    this.#probes.delete(number);
    if (suspicion === undefined) return [];
    const entry = this.#roster.get(suspicion.member.id);
    if (entry?.suspicion !== suspicion) return [];
    if (found === 'healthy') {
      entry.suspicion = undefined;
      return [];
    }
    suspicion.probed(found);
    return this.#probe(entry, suspicion, now);
  }

  #decide(entry: RosterEntry, now: number): RegistryEffect[] {
    const { suspicion } = entry;
    if (suspicion?.confirmed !== true) return [];
    return this.#remove(entry, 'removed', suspicion.reason, now);
  }

  #remove(
    entry: RosterEntry,
    state: 'removed' | 'left',
    reason: string,
    now: number,
  ): RegistryEffect[] {
    const { member } = entry;
    this.#roster.delete(member.id);
    this.#gone.add(member, state, now);
    const effects: RegistryEffect[] = [{ kind: 'forget', id: member.id }];
    if (entry.listed) {
      effects.push({ kind: 'report', event: state, member, reason });
      effects.push(...this.#notices.tell({ member, state }, this.#roster.healthy()));
    }
    return effects;
  }

  #heard(now: number): RegistryEffect[] {
    if (!this.#doubt.heard()) return [];
    this.#grantLeases(now);
    return [{ kind: 'report', event: 'self-trust', reason: 'a server was heard again' }];
  }

  #tick(now: number): RegistryEffect[] {
    const due = this.nextDeadline();
    if (due !== undefined && now - due > STALL_MS) this.#grantLeases(now);
    const effects: RegistryEffect[] = [];
    if (this.#doubt.expire(now)) {
      this.#grantLeases(now);
      effects.push({ kind: 'report', event: 'self-trust', reason: 'it has doubted long enough' });
    }
    if (!this.#doubt.doubting) {
      for (const entry of [...this.#roster.values()]) {
        if (entry.leaseUntil > now) continue;
        effects.push(...this.#remove(entry, 'removed', 'its lease ended', now));
      }
    }
    if (this.#nextRoundAt !== undefined && this.#nextRoundAt <= now) {
      effects.push(...this.#beginRound(now));
    }
    return effects;
  }

  #beginRound(now: number): RegistryEffect[] {
    const registered = this.#roster.size > 0;
    this.#nextRoundAt = registered ? now + this.#settings.checkIntervalMs : undefined;
    const listed = [...this.#roster.values()].filter((entry) => entry.listed);
    this.#round += 1;
    this.#doubt.beginRound(listed.length);
    return listed.map((entry) => this.#check(entry, 'round', {}));
  }

  /** While the balancer could not hear, or stood still, nobody could renew. */
  #grantLeases(now: number): void {
    this.#roster.grantLeases(now + this.#settings.leaseMs);
  }

  #check(
    entry: RosterEntry,
    purpose: Check['purpose'],
    options: { calls?: number[]; changed?: boolean },
  ): RegistryEffect {
    const { id, incarnation } = entry.member;
    const check: Check = {
      number: this.#number(),
      id,
      incarnation,
      purpose,
      round: purpose === 'round' ? this.#round : 0,
      calls: options.calls ?? [],
      changed: options.changed ?? false,
    };
    this.#checks.set(check.number, check);
    const { checkDeadlineMs, recheckDeadlineMs } = this.#settings;
    // What a round finds silent is checked again; a check that makes a connection first takes longer.
    const deadlineMs = purpose === 'round' ? checkDeadlineMs : recheckDeadlineMs;
    return { kind: 'check', check: check.number, member: entry.member, deadlineMs };
  }

  #answer(call: number, entry: RosterEntry | undefined, reason: string): RegistryEffect {
    const listed = entry?.listed ?? false;
    return {
      kind: 'answer',
      call,
      listed,
      members: this.#roster.listed(),
      reason: listed ? '' : reason,
    };
  }

  #number(): number {
    this.#lastNumber += 1;
    return this.#lastNumber;
  }
}
