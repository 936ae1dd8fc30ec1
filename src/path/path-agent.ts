import { type Address, sameAddress } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Random } from '../base/random.ts';
import type { Candidate } from './candidate.ts';
import type { CandidatePair, Path } from './candidate-pair.ts';
import { isSafeTarget, type OwnSituation } from './candidate-rules.ts';
import { CheckCodec, type Credentials, type PairState, pairStateOf } from './check-message.ts';
import { CheckRounds } from './check-rounds.ts';
import { Checklist } from './checklist.ts';
import type { IgnoredMessages, PathEffect, PathInput, PathState } from './path-events.ts';
import { Nomination } from './nomination.ts';
import { PathSelection } from './path-selection.ts';
import { SendBudget } from './send-budget.ts';
import { mappedAddressOf, type StunMessage, usernameOf, verifyIntegrity } from './stun.ts';
import { SeenChecks, Transactions } from './transactions.ts';

export interface PathAgentOptions extends OwnSituation {
  readonly local: Credentials;
  readonly remote: Credentials;
  /** As the server told them: the agent applies the rules itself. */
  readonly remoteCandidates: readonly Candidate[];
  /** Whether this side says which path both use; the friend's agent must be told the contrary. */
  readonly controlling: boolean;
  /** For transaction ids. */
  readonly random: Random;
}

/** An answer after so long says nothing of the path now (`LOST_AFTER_MS`). */
const TRANSACTION_LIFETIME_MS = 6500;
/** Nine checks a round to each of 32 pairs. */
const MAX_TRANSACTIONS = 288;
/** More than a friend sends in three rounds. */
const MAX_SEEN_CHECKS = 512;
/** What a check says that goes to a guessed port. */
const UNKNOWN_PAIR: PairState = { answered: false, pathClass: 'public', nomination: 0 };

/**
 * All paths to one session of one friend: checks every candidate of it, answers its checks, keeps
 * alive what works and says which path is best. Pure: it is told what arrives and what time it is,
 * and says what to send. See NAT traversal in RFC 8445; check-message.ts has the differences.
 */
export class PathAgent {
  /** Counts since the start. */
  readonly ignored: IgnoredMessages = {
    foreign: 0,
    unauthenticated: 0,
    reflected: 0,
    replayed: 0,
    stale: 0,
    refused: 0,
  };

  readonly #local: Credentials;
  #remote: Credentials;
  /** Credentials that servers told while a path stood. */
  #successor: Credentials | undefined;
  #codec: CheckCodec;
  readonly #checklist: Checklist;
  readonly #transactions: Transactions;
  readonly #seen = new SeenChecks(MAX_SEEN_CHECKS);
  readonly #budget: SendBudget;
  readonly #selection = new PathSelection();
  readonly #nomination: Nomination;
  readonly #rounds: CheckRounds;
  /** Whether the friend has ever answered. */
  #hadPath = false;
  #closed = false;
  #now: number;
  #effects: PathEffect[] = [];

  /** Nothing is sent before the first step, which `nextDeadline` names. */
  constructor(options: PathAgentOptions, now: number) {
    this.#local = options.local;
    this.#remote = options.remote;
    this.#codec = new CheckCodec(options.local, options.remote);
    this.#checklist = new Checklist(options);
    this.#transactions = new Transactions(options.random, MAX_TRANSACTIONS);
    this.#budget = new SendBudget(now);
    this.#nomination = new Nomination(options.controlling);
    this.#now = now;
    this.#rounds = new CheckRounds(now);
    this.#checklist.tell(options.remoteCandidates, now);
  }

  get state(): PathState {
    if (this.#closed) return 'closed';
    if (this.#selection.path !== undefined) return 'connected';
    return this.#rounds.pending ? 'checking' : 'failed';
  }

  /** The best path, of a class or of all: what to send on. */
  selected(pathClass?: PathClass): Path | undefined {
    return this.#selection.best(pathClass)?.path;
  }

  /** The class of the path that packets from `remote` come on; undefined: it is no path. */
  classOf(remote: Address, local?: Address): PathClass | undefined {
    const pair = this.#checklist.get(remote, local);
    // What a relay hands us comes from the friend's side of it, or from nobody.
    return pair?.answered === true || pair?.isRelay === true ? pair.pathClass : undefined;
  }

  /** Whether the friend has been heard from at one of our sockets. */
  isHeardAt(local: Address): boolean {
    return this.#checklist.from(local).length > 0;
  }

  /**
   * When the friend last answered on the path in use: 4 s ago, it is asked again every 500 ms. It never
   * did on one that is presumed, nor where there is none any more (-Infinity), or none yet.
   */
  get answeredAt(): number | undefined {
    const best = this.#selection.best();
    if (best === undefined) return this.#hadPath ? -Infinity : undefined;
    return best.answeredAt;
  }

  /** Every path that answers. */
  get paths(): readonly Path[] {
    return [...this.#checklist].filter(({ answered }) => answered).map(({ path }) => path);
  }

  step(input: PathInput, now: number): PathEffect[] {
    if (this.#closed) return [];
    this.#now = Math.max(this.#now, now);
    this.#effects = [];
    switch (input.type) {
      case 'stun':
        this.#onStun(input.message, input.remote, input.local);
        break;
      case 'guess':
        this.#onGuess(input.remote, input.local, input.short === true);
        break;
      case 'socket-closed':
        this.#checklist.closeSocket(input.local).forEach((pair) => this.#onPairGone(pair));
        break;
      case 'remote-candidates':
        this.#onCandidates(input.candidates, input.credentials);
        break;
      case 'relay-opened':
        this.#onRelay(input.remote);
        break;
      case 'relay-closed':
        this.#onRelayGone(input.remote);
        break;
      case 'network-changed':
        for (const pair of this.#checklist) pair.doubt();
        this.#rounds.forgetFailures();
        this.#rounds.restartNow(this.#now);
        break;
      case 'close':
        this.#closed = true;
        this.#checklist.clear();
        this.#transactions.clear();
        this.#selection.update([], undefined, this.#now);
        return [];
      case 'tick':
        break;
    }
    this.#advance();
    return this.#effects;
  }

  /** When `step` wants to be called with a tick at the latest; undefined: not before an input. */
  nextDeadline(): number | undefined {
    if (this.#closed) return undefined;
    const deadlines = [this.#rounds.nextDeadline];
    for (const pair of this.#checklist) {
      deadlines.push(pair.lostAt);
      if (pair.dueAt !== undefined) deadlines.push(this.#sendableAt(pair, pair.dueAt));
    }
    const set = deadlines.filter((deadline) => deadline !== undefined);
    return set.length === 0 ? undefined : Math.min(...set);
  }

  #onStun(message: StunMessage, remote: Address, local: Address | undefined): void {
    if (message.kind === 'request') this.#onCheck(message, remote, local);
    else if (message.kind === 'success') this.#onAnswer(message, remote, local);
    else this.ignored.foreign++;
  }

  #onCheck(message: StunMessage, remote: Address, local: Address | undefined): void {
    const username = usernameOf(message);
    if (username !== this.#codec.incomingUsername) {
      if (username === this.#codec.outgoingUsername) this.ignored.reflected++;
      else this.ignored.foreign++;
      return;
    }
    if (!verifyIntegrity(message, this.#local.password)) {
      this.ignored.unauthenticated++;
      return;
    }
    // A copy that comes from elsewhere is somebody else's, unless this is where the friend is: then
    // the copy was faster.
    const sighting = this.#seen.add(message.transactionId, remote);
    const isKnown = this.#checklist.get(remote, local) !== undefined;
    if (sighting === 'again' || (sighting === 'elsewhere' && !isKnown)) {
      this.ignored.replayed++;
      return;
    }
    const pair = this.#checklist.learn(remote, this.#now, local);
    if (pair === undefined) {
      this.ignored.refused++;
      return;
    }
    const wasChecked = pair.checked;
    const state = pairStateOf(message);
    pair.heardCheck(state, this.#now);
    if (sighting === 'first') this.#nomination.hear(pair, state.nomination);
    if (!pair.answered) pair.creditBytes += message.raw.length;
    const answer = this.#codec.encodeAnswer(message.transactionId, remote, pair.state);
    if (answer.length <= message.raw.length) {
      pair.creditBytes = Math.max(0, pair.creditBytes - answer.length);
      this.#effects.push({ type: 'send', datagram: answer, remote: pair.remote, local });
    }
    this.#tellOfPair(pair, true, wasChecked);
  }

  #onAnswer(message: StunMessage, remote: Address, local: Address | undefined): void {
    const transaction = this.#transactions.find(message.transactionId);
    if (transaction === undefined) {
      this.ignored.stale++;
      return;
    }
    if (!verifyIntegrity(message, this.#remote.password)) {
      this.ignored.unauthenticated++;
      return;
    }
    const rttMs = this.#now - transaction.sentAt;
    if (rttMs >= TRANSACTION_LIFETIME_MS) {
      this.ignored.stale++;
      return;
    }
    const pair = this.#checklist.learn(remote, this.#now, local);
    if (pair === undefined) {
      this.ignored.refused++;
      return;
    }
    const { answered, checked } = pair;
    if (sameAddress(remote, transaction.remote) && local === transaction.local) {
      this.#transactions.close(transaction);
      const state = pairStateOf(message);
      pair.heardAnswer(state, mappedAddressOf(message), rttMs, this.#now);
      this.#nomination.hear(pair, state.nomination);
    } else {
      // The friend's router, or its choice of interface, answers from elsewhere (RFC 8445 §7.2.5.2.1
      // would drop this). It can be heard from there, so that is worth a check of its own.
      if (!answered) pair.creditBytes += message.raw.length;
      const { pathClass } = pairStateOf(message);
      pair.heardCheck({ answered: false, pathClass, nomination: 0 }, this.#now);
    }
    this.#tellOfPair(pair, answered, checked);
  }

  #tellOfPair(pair: CandidatePair, wasAnswered: boolean, wasChecked: boolean): void {
    const { path } = pair;
    if (pair.answered && !wasAnswered) this.#effects.push({ type: 'answered', path });
    if (pair.checked && !wasChecked) this.#effects.push({ type: 'checked', path });
  }

  #onCandidates(candidates: readonly Candidate[], credentials: Credentials): void {
    const { ufrag, password } = credentials;
    const isNew = ufrag !== this.#remote.ufrag || password !== this.#remote.password;
    this.#successor = isNew ? { ufrag, password } : undefined;
    // A server's word must not end a path that works: it is believed when there is none.
    if (isNew && this.#selection.best()?.answered !== true) this.#adoptCredentials();
    const added = this.#checklist.tell(candidates, this.#now);
    this.#checklist.doubtLeft(candidates, this.#now);
    for (const pair of added) pair.startRound(this.#now);
    if (added.length > 0) this.#rounds.extend(this.#now);
    if (this.state === 'failed') this.#rounds.restart(this.#now);
  }

  #onRelay(remote: Address): void {
    const pair = this.#checklist.openRelay(remote, this.#now);
    if (pair === undefined) return;
    // Only as long as there was nothing else to believe: later, what is said to be lost must be.
    if (!this.#hadPath) pair.presume(this.#now);
    if (!pair.answered) pair.startRound(this.#now);
  }

  #onRelayGone(remote: Address): void {
    const pair = this.#checklist.closeRelay(remote);
    if (pair !== undefined) this.#onPairGone(pair);
  }

  #onPairGone(pair: CandidatePair): void {
    if (pair.usable) this.#effects.push({ type: 'lost', path: pair.path });
    this.#nomination.drop(pair);
  }

  #onGuess(remote: Address, local: Address | undefined, short: boolean): void {
    // Whoever shall be guessed at has asked for it: a server saw the friend there (`NatReport`).
    if (!isSafeTarget(remote) || !this.#checklist.tells(remote.host)) return;
    const state = this.#checklist.get(remote, local)?.state ?? UNKNOWN_PAIR;
    const { id } = this.#transactions.open(remote, local, this.#now);
    const datagram = this.#codec.encodeCheck(id, state, false);
    this.#effects.push({ type: 'send', datagram, remote, local, ...(short ? { short } : {}) });
  }

  /** The friend has started anew (RFC 8445 §9): what was on its way is for nobody. */
  #adoptCredentials(): void {
    if (this.#successor === undefined) return;
    this.#remote = this.#successor;
    this.#successor = undefined;
    this.#codec = new CheckCodec(this.#local, this.#remote);
    this.#transactions.clear();
    this.#nomination.forget();
    this.#rounds.restartNow(this.#now);
  }

  /** Everything that time, or what was just learned, makes due. */
  #advance(): void {
    this.#endLostPaths();
    this.#select();
    this.#runRounds();
    this.#sendDueChecks();
  }

  #endLostPaths(): void {
    for (const pair of this.#checklist) {
      if (pair.lostAt === undefined || pair.lostAt > this.#now) continue;
      this.#effects.push({ type: 'lost', path: pair.path });
      pair.lose(this.#now);
    }
  }

  #select(): void {
    const { path: previous } = this.#selection;
    this.#selection.update([...this.#checklist], this.#nomination.followed, this.#now);
    const best = this.#selection.best();
    // What is only presumed is nothing to agree on.
    this.#nomination.select(best?.answered === true ? best : undefined, this.#now);
    this.#hadPath ||= best?.answered === true;
    const { path } = this.#selection;
    if (path !== undefined) {
      const isSame = path.remote === previous?.remote && path.local === previous.local;
      if (isSame && path.pathClass === previous.pathClass) return;
      this.#effects.push({ type: 'selected', path, previous });
    } else if (previous !== undefined) {
      this.#effects.push({ type: 'all-lost' });
      this.#adoptCredentials();
      this.#rounds.restart(this.#now);
    }
  }

  #runRounds(): void {
    const { path } = this.#selection;
    const connectivity = { connected: path !== undefined, direct: path?.via === 'udp' };
    for (const event of this.#rounds.advance(this.#now, connectivity)) {
      if (event.type !== 'round-started') this.#effects.push(event);
      else for (const pair of this.#checklist) pair.startRound(this.#now);
    }
  }

  #sendDueChecks(): void {
    const due = [...this.#checklist].filter(
      ({ dueAt }) => dueAt !== undefined && dueAt <= this.#now,
    );
    // Triggered ones and those on living paths first, then whoever had fewest checks.
    due.sort(
      (a, b) =>
        Number(this.#isPaced(a)) - Number(this.#isPaced(b)) ||
        a.checks - b.checks ||
        a.order - b.order,
    );
    for (const pair of due) this.#check(pair);
  }

  #check(pair: CandidatePair): void {
    const allowance = pair.allowance(this.#codec.smallBytes);
    if (allowance === 'none') {
      pair.dueAt = undefined;
      return;
    }
    if (this.#sendableAt(pair, this.#now) > this.#now) return;
    if (allowance === 'full' && !pair.answered) this.#budget.spend(this.#now, !pair.triggered);
    const { remote, local } = pair;
    const { id } = this.#transactions.open(remote, local, this.#now);
    const datagram = this.#codec.encodeCheck(id, pair.state, allowance === 'small');
    pair.sent(datagram.length, this.#now);
    this.#effects.push({ type: 'send', datagram, remote, local });
  }

  /** Whether a check there has to wait for its turn. */
  #isPaced(pair: CandidatePair): boolean {
    return !pair.answered && !pair.triggered;
  }

  #sendableAt(pair: CandidatePair, dueAt: number): number {
    if (pair.answered || pair.allowance(this.#codec.smallBytes) !== 'full') return dueAt;
    return Math.max(dueAt, this.#budget.availableAt(this.#isPaced(pair)));
  }
}
