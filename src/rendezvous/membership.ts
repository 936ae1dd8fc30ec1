import { backoffDelayMs } from '../base/backoff.ts';
import type { Random } from '../base/random.ts';
import type { Member, MemberFact, Standing } from './member.ts';

export type MembershipInput =
  /** The load balancers there are, by address; those not named any more are forgotten. */
  | { readonly type: 'balancers'; readonly balancers: readonly string[] }
  /** A load balancer has accepted this server's registration; `members` are those it hands out. */
  | { readonly type: 'registered'; readonly balancer: string; readonly members: readonly Member[] }
  | { readonly type: 'registration-failed'; readonly balancer: string }
  /** A notification. */
  | { readonly type: 'notified'; readonly facts: readonly MemberFact[] }
  /** What another server says it knows: it adds members, but what it says of their standing is old. */
  | { readonly type: 'hearsay'; readonly facts: readonly MemberFact[] }
  /** The stream to a member is up: it said hello. */
  | { readonly type: 'linked'; readonly member: Member }
  /** Its records are here. */
  | { readonly type: 'snapshot'; readonly id: string }
  /** The stream broke, or could not be opened. `lastHeardAt`: when it was last known to work. */
  | { readonly type: 'unlinked'; readonly id: string; readonly lastHeardAt?: number }
  /** Which members another server cannot reach. */
  | { readonly type: 'reach'; readonly from: string; readonly unreachable: readonly string[] }
  | { readonly type: 'tick' };

export type MembershipEffect =
  /** Open the pair's stream; answered by `linked` or `unlinked`. */
  | { readonly type: 'dial'; readonly member: Member }
  /** Tell the member of us: its id is the lower, so the stream is its to open. */
  | { readonly type: 'nudge'; readonly member: Member }
  /** Its records are to be removed. */
  | { readonly type: 'purge'; readonly id: string }
  /** Begin to serve peers; once. */
  | { readonly type: 'serve' };

/** How long a starting server waits for the snapshot of a member. */
const SNAPSHOT_WITHIN_MS = 2_000;
/** A member that said goodbye is gone when its stream is closed too, apart from a hiccup. */
const LEFT_PURGE_MS = 1_000;
/** One that a balancer took off its list is gone when our stream has been broken this long as well. */
const REMOVED_PURGE_MS = 5_000;
/** And one that only servers miss, when ours has been broken for this long. */
const MISSED_PURGE_MS = 10_000;
/** From when on a broken stream is reported: a heartbeat before others may need to know. */
const REPORT_AFTER_MS = MISSED_PURGE_MS - 2_000;
/** What other servers report counts for this long: two of their heartbeats may be lost. */
const REPORT_VALID_MS = 6_000;
/** Registrations are renewed every 5 s: an answer as fresh lists every live member. */
const LISTED_WITHIN_MS = 5_000;
/** How long a lost member is still called, in case a partition ends. */
const FORGET_AFTER_MS = 15 * 60_000;
const MAX_MEMBERS = 1_000;
const REDIAL = { initialMs: 250, maxMs: 2_000 } as const;
/**
 * A lost member is called more seldom: one that returns is announced by its registration, and called
 * at once. Where no balancer lives to tell, tables have to be equal within 30 s of a partition's end
 * (DESIGN, invariant 5), of which a call that the partition has swallowed takes five.
 */
const REDIAL_LOST = { initialMs: 250, maxMs: 20_000 } as const;

/**
 * What another server is to this one. `linked`: the stream to it is up. `broken`: it is not, and
 * nobody has taken the member off a list. `removed`: a load balancer has. `left`: it said goodbye.
 */
export type MemberState = 'linked' | 'broken' | 'removed' | 'left';

interface Entry {
  member: Member;
  standing: Standing;
  link: 'down' | 'trying' | 'up';
  /** Since when the link is not up. */
  brokenAt: number;
  readonly learnedAt: number;
  snapshot: boolean;
  purged: boolean;
  attempts: number;
  attemptAt: number;
  /** Who reported it unreachable, and when. */
  readonly reports: Map<string, number>;
}

interface Balancer {
  reachable: boolean;
  answeredAt: number;
  readonly listed: Set<string>;
}

/**
 * Who the other servers are, whom to open a stream to (the member with the lower id opens it), when
 * a dead one's records go, and when this server begins to serve.
 *
 * Facts about a member merge by incarnation: the highest wins; of equal ones the newest word of a
 * load balancer does, and a stream that is up beats all of them. What balancers say only stops a
 * member from being handed out; its records go when our own stream to it is broken as well.
 */
export class Membership {
  readonly #selfId: string;
  readonly #random: Random;
  readonly #entries = new Map<string, Entry>();
  readonly #balancers = new Map<string, Balancer>();
  #balancersKnown = false;
  #serving = false;

  constructor(selfId: string, random: Random) {
    this.#selfId = selfId;
    this.#random = random;
  }

  get serving(): boolean {
    return this.#serving;
  }

  /** How many members there are in each state. */
  counts(): Readonly<Record<MemberState, number>> {
    const counts = { linked: 0, broken: 0, removed: 0, left: 0 };
    for (const { link, standing } of this.#entries.values()) {
      counts[link === 'up' ? 'linked' : standing === 'alive' ? 'broken' : standing] += 1;
    }
    return counts;
  }

  /** Every member known and what is known of it, for others. */
  facts(): MemberFact[] {
    return [...this.#entries.values()].map(({ member, standing }) => ({ member, standing }));
  }

  /** The members that have not left. */
  others(): Member[] {
    return [...this.#entries.values()]
      .filter(({ standing }) => standing !== 'left')
      .map(({ member }) => member);
  }

  /** Which members' streams have been broken for so long that others should know. */
  unreachable(now: number): string[] {
    return [...this.#entries.values()]
      .filter(({ link, brokenAt }) => link !== 'up' && now - brokenAt >= REPORT_AFTER_MS)
      .map(({ member }) => member.id);
  }

  /** When `tick` may have something to do. */
  nextDeadline(now: number): number | undefined {
    const times: number[] = [];
    for (const entry of this.#entries.values()) {
      if (!this.#serving) times.push(entry.learnedAt + SNAPSHOT_WITHIN_MS);
      if (entry.link === 'up') continue;
      if (entry.link === 'down') times.push(entry.attemptAt);
      for (const afterMs of [LEFT_PURGE_MS, REMOVED_PURGE_MS, MISSED_PURGE_MS, FORGET_AFTER_MS]) {
        times.push(entry.brokenAt + afterMs);
      }
    }
    const next = Math.min(...times.filter((at) => at > now));
    return next === Infinity ? undefined : next;
  }

  step(input: MembershipInput, now: number): MembershipEffect[] {
    this.#take(input, now);
    return [...this.#purges(now), ...this.#calls(now), ...this.#beginsToServe(now)];
  }

  #take(input: MembershipInput, now: number): void {
    switch (input.type) {
      case 'balancers':
        this.#takeBalancers(input.balancers);
        break;
      case 'registered': {
        const listed = new Set(input.members.map(({ id }) => id));
        this.#balancers.set(input.balancer, { reachable: true, answeredAt: now, listed });
        for (const member of input.members) this.#learn({ member, standing: 'alive' }, now, true);
        break;
      }
      case 'registration-failed': {
        const balancer = this.#balancers.get(input.balancer);
        if (balancer !== undefined) balancer.reachable = false;
        break;
      }
      case 'notified':
        for (const fact of input.facts) this.#learn(fact, now, true);
        break;
      case 'hearsay':
        for (const fact of input.facts) this.#learn(fact, now, false);
        break;
      case 'linked':
        this.#linked(input.member, now);
        break;
      case 'snapshot': {
        const entry = this.#entries.get(input.id);
        if (entry !== undefined) entry.snapshot = true;
        break;
      }
      case 'unlinked':
        this.#unlinked(input.id, input.lastHeardAt ?? now, now);
        break;
      case 'reach':
        for (const [id, entry] of this.#entries) {
          if (input.unreachable.includes(id)) entry.reports.set(input.from, now);
          else entry.reports.delete(input.from);
        }
        break;
      case 'tick':
        break;
    }
  }

  #takeBalancers(balancers: readonly string[]): void {
    this.#balancersKnown = true;
    for (const known of this.#balancers.keys()) {
      if (!balancers.includes(known)) this.#balancers.delete(known);
    }
    for (const balancer of balancers) {
      if (this.#balancers.has(balancer)) continue;
      this.#balancers.set(balancer, { reachable: false, answeredAt: -Infinity, listed: new Set() });
    }
  }

  #learn({ member, standing }: MemberFact, now: number, firstHand: boolean): void {
    if (member.id === this.#selfId) return;
    const entry = this.#entries.get(member.id);
    if (entry === undefined) {
      if (standing === 'left' || this.#entries.size >= MAX_MEMBERS) return;
      this.#entries.set(member.id, {
        ...{ member, standing, link: 'down', brokenAt: now, learnedAt: now },
        ...{ snapshot: false, purged: true, attempts: 0, attemptAt: now, reports: new Map() },
      });
      return;
    }
    if (member.incarnation < entry.member.incarnation) return;
    if (member.incarnation > entry.member.incarnation) entry.attemptAt = now;
    else if (!firstHand) return;
    // A server that knows no address of its own to give may be given one by others.
    if (member.clusterAddresses.length > 0) entry.member = member;
    if (entry.standing !== 'left') entry.standing = standing;
    const calledSeldom = entry.attemptAt > now + REDIAL.maxMs;
    if (firstHand && standing === 'alive' && calledSeldom) entry.attemptAt = now;
  }

  #linked(member: Member, now: number): void {
    this.#learn({ member, standing: 'alive' }, now, true);
    const entry = this.#entries.get(member.id);
    if (entry === undefined) return;
    entry.link = 'up';
    entry.standing = 'alive';
    entry.attempts = 0;
    entry.purged = false;
    entry.snapshot = false;
    entry.reports.clear();
  }

  #unlinked(id: string, lastHeardAt: number, now: number): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.link === 'down') return;
    if (entry.link === 'up') entry.brokenAt = lastHeardAt;
    entry.link = 'down';
    this.#callLater(entry, now);
  }

  #callLater(entry: Entry, now: number): void {
    entry.attempts += 1;
    const pace = this.#isLost(entry, now) ? REDIAL_LOST : REDIAL;
    entry.attemptAt = now + backoffDelayMs(entry.attempts, pace, this.#random);
  }

  /** Whether its records went long ago, and no balancer has it on its list. */
  #isLost({ member, purged, brokenAt }: Entry, now: number): boolean {
    if (!purged || now - brokenAt < MISSED_PURGE_MS) return false;
    return this.#reachableBalancers().every(({ listed }) => !listed.has(member.id));
  }

  #reachableBalancers(): Balancer[] {
    return [...this.#balancers.values()].filter(({ reachable }) => reachable);
  }

  #purges(now: number): MembershipEffect[] {
    const effects: MembershipEffect[] = [];
    for (const [id, entry] of this.#entries) {
      if (entry.link === 'up') continue;
      if (this.#isDead(entry, now)) {
        if (!entry.purged) effects.push({ type: 'purge', id });
        entry.purged = true;
        entry.snapshot = false;
      }
      if (now - entry.brokenAt >= FORGET_AFTER_MS) this.#entries.delete(id);
    }
    return effects;
  }

  #isDead(entry: Entry, now: number): boolean {
    const brokenMs = now - entry.brokenAt;
    if (entry.standing === 'left') return brokenMs >= LEFT_PURGE_MS;
    if (entry.standing === 'removed' && brokenMs >= REMOVED_PURGE_MS) return true;
    if (brokenMs < MISSED_PURGE_MS) return false;
    const reachable = this.#reachableBalancers();
    if (reachable.length > 0) {
      // A balancer that was restarted has never known the member, and will not tell of its removal.
      return reachable.every(
        ({ answeredAt, listed }) =>
          answeredAt >= entry.brokenAt + LISTED_WITHIN_MS && !listed.has(entry.member.id),
      );
    }
    const linked = [...this.#entries.values()].filter(({ link }) => link === 'up');
    return (
      linked.length === 0 ||
      linked.some(({ member }) => {
        const reportedAt = entry.reports.get(member.id);
        return reportedAt !== undefined && now - reportedAt <= REPORT_VALID_MS;
      })
    );
  }

  #calls(now: number): MembershipEffect[] {
    const effects: MembershipEffect[] = [];
    for (const entry of this.#entries.values()) {
      const { link, standing, attemptAt, member } = entry;
      if (link !== 'down' || standing === 'left' || attemptAt > now) continue;
      if (this.#selfId < member.id) {
        entry.link = 'trying';
        effects.push({ type: 'dial', member });
      } else {
        this.#callLater(entry, now);
        effects.push({ type: 'nudge', member });
      }
    }
    return effects;
  }

  #beginsToServe(now: number): MembershipEffect[] {
    if (this.#serving || !this.#balancersKnown) return [];
    const balancers = [...this.#balancers.values()];
    if (balancers.length > 0 && balancers.every(({ answeredAt }) => answeredAt < 0)) return [];
    for (const { standing, snapshot, learnedAt } of this.#entries.values()) {
      if (standing === 'alive' && !snapshot && now - learnedAt < SNAPSHOT_WITHIN_MS) return [];
    }
    this.#serving = true;
    return [{ type: 'serve' }];
  }
}
