import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import { type Candidate, type CandidateKind, checkOrderOf, pathClassOf } from './candidate.ts';
import type { PairState } from './check-message.ts';

/** A way to the friend that an authenticated answer has come back on, or a relay's word stands for. */
export interface Path {
  /** What carries it: the peer's own UDP socket of the family of `remote`, or a server. */
  readonly via: 'udp' | 'relay';
  /** Our socket, where it is one that ports were guessed from; undefined: the peer's own. */
  readonly local?: Address | undefined;
  readonly remote: Address;
  readonly kind: CandidateKind;
  readonly pathClass: PathClass;
  /** Nothing has come back on it yet: there is a relay's word only. */
  readonly presumed: boolean;
  /** Smoothed round-trip time. */
  readonly rttMs: number;
  /**
   * When it was found that both sides have seen both directions. Undefined: the friend has not said
   * so yet; it is reached, and listens to this path from the moment it has had an answer itself.
   */
  readonly checkedAt: number | undefined;
  /** Our own address, as the friend sees it on this path. */
  readonly observed: Address | undefined;
}

/** After the n-th check of a round, how long until the next if nothing answers. */
const RETRANSMIT_MS = [33, 66, 133, 266, 533, 1066, 2000] as const;
const LONGEST_RETRANSMIT_MS = 2000;
/** A round's checks of one candidate, triggered ones included, and how long they are spread over. */
const MAX_CHECKS_PER_ROUND = 9;
export const ROUND_MS = 4000;
/** Sent after the first answer, so that the friend sees both directions too. */
const FOLLOW_UPS = 3;
/**
 * The worst routers forget a mapping after 20 s of silence. Against 5 s, which leaves three checks
 * until trust ends, 4 s leaves five: simulated at 80 ms, a path is given up in error 0.15 instead of
 * 4.9 times an hour where 10 % of all packets are lost, 5 instead of 26 times at 20 %, for 0.53
 * instead of 0.43 packets a second.
 */
const KEEP_ALIVE_MS = 4000;
const KEEP_ALIVE_REPEAT_MS = 500;
/** Trust in a path ends so long after the last answer. */
const LOST_AFTER_MS = 6500;
/** A check from the friend triggers one of ours, but not so soon after another. */
const TRIGGER_SPACING_MS = 20;
/** An answer older than this makes a check from the friend an occasion to renew it. */
const RENEW_AFTER_MS = KEEP_ALIVE_MS / 2;
/** A path that was lost is asked again so often for two minutes: most outages are shorter. */
const REVIVAL_MS = 5000;
const REVIVALS = 24;
/** The weight of a new round-trip time. */
const RTT_GAIN = 0.25;

/**
 * One candidate pair: a socket of ours and one address of the friend's. Decides when it is checked next,
 * and what is known of it:
 *
 *   presumed  a relay whose server says that it passes things on: used until that proves wrong
 *   waiting   nothing has been answered; checked by the retransmission schedule of a round
 *   answered  answers come back; told to the friend by follow-ups until it says the same
 *   checked   both sides have seen both directions; kept alive
 *
 * and back to waiting when answers stay away for 6.5 s.
 */
export class CandidatePair {
  readonly remote: Address;
  /** See `Path.local`. */
  readonly local: Address | undefined;
  /** Where it stands among those that are due at the same time; see `checkOrderOf`. */
  readonly order: number;
  kind: CandidateKind;
  /** Whether a server told of it. If not, it gets no more bytes than came from it until it answers. */
  listed: boolean;
  /** When the next check is due; undefined: not before something happens. */
  dueAt: number | undefined;
  /** Whether the friend's check made it due (RFC 8445 §7.3.1.4): such checks wait for no other. */
  triggered = false;
  /** When the friend was last heard from here. */
  heardAt: number;
  /** Bytes that may still be sent there although nothing is known of it. */
  creditBytes = 0;
  /** Checks sent in this round. */
  checks = 0;
  /** The number under which it was nominated, by us or by the friend; 0: it is not. */
  nomination = 0;

  readonly #ownClass: PathClass;
  #friendClass: PathClass | undefined;
  #friendAnswered = false;
  #roundEndsAt = 0;
  #followUps = 0;
  /** Checks that have told of our nomination; undefined: the friend knows of it. */
  #nominationChecks: number | undefined;
  #lastSentAt = -Infinity;
  #doubted = false;
  /** How many more times a lost path is asked whether it lives again. */
  #revivals = 0;
  /** Until when a relay may be used although nothing has been answered yet; undefined: it may not. */
  #presumedUntil: number | undefined;
  #answeredAt: number | undefined;
  #checkedAt: number | undefined;
  #keptAlive = true;
  #rttMs = 0;
  #observed: Address | undefined;
  #path: Path | undefined;

  constructor(remote: Candidate, listed: boolean, now: number, local?: Address) {
    this.remote = remote.address;
    this.local = local;
    this.kind = remote.kind;
    this.listed = listed;
    this.order = checkOrderOf(remote);
    this.heardAt = now;
    // What it is taken for stays as it is, since the friend has been told.
    this.#ownClass = pathClassOf(remote);
  }

  get answered(): boolean {
    return this.#answeredAt !== undefined;
  }

  get isRelay(): boolean {
    return this.#ownClass === 'relay';
  }

  /** Whether it may be sent on. */
  get usable(): boolean {
    return this.answered || this.#presumedUntil !== undefined;
  }

  get checked(): boolean {
    return this.#checkedAt !== undefined;
  }

  get rttMs(): number {
    return this.#rttMs;
  }

  /** The class both sides come to: a LAN only if both take it for one. */
  get pathClass(): PathClass {
    if (this.isRelay) return 'relay';
    return this.#ownClass === 'lan' && (this.#friendClass ?? 'lan') === 'lan' ? 'lan' : 'public';
  }

  /** What the friend is told of it. */
  get state(): PairState {
    const { answered, nomination } = this;
    return { answered, pathClass: this.#ownClass, nomination };
  }

  get path(): Path {
    this.#path ??= {
      via: this.isRelay ? 'relay' : 'udp',
      local: this.local,
      remote: this.remote,
      kind: this.kind,
      pathClass: this.pathClass,
      presumed: !this.answered,
      rttMs: this.#rttMs,
      checkedAt: this.#checkedAt,
      observed: this.#observed,
    };
    return this.#path;
  }

  /** Whether a check may go there now, and how long it may be. */
  allowance(smallBytes: number): 'full' | 'small' | 'none' {
    const isWorthwhile = this.listed || this.#revivals > 0;
    if (this.answered || (isWorthwhile && this.checks < MAX_CHECKS_PER_ROUND)) return 'full';
    return this.creditBytes >= smallBytes ? 'small' : 'none';
  }

  /** A server has told of it as well. */
  promote(kind: CandidateKind): void {
    this.listed = true;
    this.kind = kind;
    this.#path = undefined;
  }

  /** Something has changed: until the next answer, any path that has answered since is better. */
  doubt(): void {
    this.#doubted = true;
  }

  get doubted(): boolean {
    return this.#doubted;
  }

  /** A relay is there: it is used before it has been checked, so that talk begins at once. */
  presume(now: number): void {
    if (!this.answered) this.#presumedUntil = now + LOST_AFTER_MS;
  }

  startRound(now: number): void {
    this.#roundEndsAt = now + ROUND_MS;
    this.checks = 0;
    if (this.answered || this.listed || this.#revivals > 0) this.dueAt = now;
  }

  /** Both sides are to use it: the friend is told at once, and again until it says that it knows. */
  nominate(number: number, now: number): void {
    this.nomination = number;
    this.#nominationChecks = 0;
    this.dueAt = now;
  }

  /** The friend has checked from here. */
  heardCheck(state: PairState, now: number): void {
    this.#heard(state, now);
    if (this.#answeredAt === undefined) {
      const at = Math.max(now, this.#lastSentAt + TRIGGER_SPACING_MS);
      this.dueAt = Math.min(this.dueAt ?? at, at);
      this.triggered = true;
    } else if (
      this.#keptAlive &&
      now - this.#answeredAt >= RENEW_AFTER_MS &&
      now - this.#lastSentAt >= KEEP_ALIVE_REPEAT_MS
    ) {
      // Whoever's timer fires first renews the path for both: twice the chances for the same packets.
      this.dueAt = now;
    }
  }

  /** The friend has answered a check of ours from here. */
  heardAnswer(state: PairState, observed: Address | undefined, rttMs: number, now: number): void {
    if (this.#answeredAt === undefined) {
      this.#rttMs = rttMs;
      this.#followUps = 0;
      this.dueAt = now;
    } else {
      this.#rttMs += (rttMs - this.#rttMs) * RTT_GAIN;
    }
    this.#answeredAt = now;
    this.#presumedUntil = undefined;
    this.#doubted = false;
    this.#revivals = 0;
    this.#observed = observed;
    this.#heard(state, now);
    if (this.#isSettled()) this.dueAt = this.#keptAlive ? now + KEEP_ALIVE_MS : undefined;
  }

  #heard(state: PairState, now: number): void {
    this.heardAt = now;
    this.#friendClass = state.pathClass;
    // Packets overtake each other: what the friend has once said stays said until the path is lost.
    this.#friendAnswered ||= state.answered;
    if (this.answered && this.#friendAnswered) this.#checkedAt ??= now;
    if (state.nomination === this.nomination) this.#nominationChecks = undefined;
    this.#path = undefined;
  }

  sent(bytes: number, now: number): void {
    this.checks++;
    this.triggered = false;
    this.creditBytes = Math.max(0, this.creditBytes - bytes);
    this.#lastSentAt = now;
    this.dueAt = this.#nextDueAt(now);
  }

  #nextDueAt(now: number): number | undefined {
    if (!this.answered) {
      const at = now + (RETRANSMIT_MS[this.checks - 1] ?? LONGEST_RETRANSMIT_MS);
      const isWorthwhile = this.listed || this.#revivals > 0;
      if (isWorthwhile && this.checks < MAX_CHECKS_PER_ROUND && at < this.#roundEndsAt) return at;
      if (this.#revivals === 0) return undefined;
      this.#revivals--;
      this.checks = 0;
      return now + REVIVAL_MS;
    }
    this.#followUps++;
    if (this.#nominationChecks !== undefined) this.#nominationChecks++;
    if (this.#isSettled()) return this.#keptAlive ? now + KEEP_ALIVE_REPEAT_MS : undefined;
    const turn = this.#nominationChecks ?? this.#followUps;
    return now + (RETRANSMIT_MS[turn - 1] ?? LONGEST_RETRANSMIT_MS);
  }

  /** What is to be told has been told: what comes now only keeps alive. */
  #isSettled(): boolean {
    // A friend that never says it knows follows nobody.
    const isNominationTold = (this.#nominationChecks ?? Infinity) >= RETRANSMIT_MS.length;
    return this.checked && this.#followUps >= FOLLOW_UPS && isNominationTold;
  }

  /** Whether it is among those worth keeping. One that is not, ends when trust in it does. */
  keepAlive(kept: boolean, now: number): void {
    if (kept === this.#keptAlive) return;
    this.#keptAlive = kept;
    if (!this.#isSettled() || this.#answeredAt === undefined) return;
    this.dueAt = kept ? Math.max(now, this.#answeredAt + KEEP_ALIVE_MS) : undefined;
  }

  /** When the friend last answered on it, if that is since it was last lost. */
  get answeredAt(): number | undefined {
    return this.#answeredAt;
  }

  /** When trust in it ends; undefined: there is none. */
  get lostAt(): number | undefined {
    if (this.#answeredAt === undefined) return this.#presumedUntil;
    return this.#answeredAt + LOST_AFTER_MS;
  }

  /**
   * Trust in it has ended: back to waiting, with a round of checks in case too many got lost, and
   * then some more, so that what was only an outage ends without help from servers. A relay that
   * nobody needs rests until a round begins.
   */
  lose(now: number): void {
    const rests = this.isRelay && !this.#keptAlive;
    this.dueAt = undefined;
    this.creditBytes = 0;
    this.#answeredAt = undefined;
    this.#presumedUntil = undefined;
    this.#checkedAt = undefined;
    this.#doubted = false;
    this.#friendAnswered = false;
    this.#followUps = 0;
    this.#nominationChecks = undefined;
    this.#keptAlive = true;
    this.#path = undefined;
    this.#revivals = rests ? 0 : REVIVALS;
    if (!rests) this.startRound(now);
  }
}
