import type { Clock } from '../../src/base/clock.ts';
import { compareBytes } from '../../src/base/identity.ts';
import type { Random } from '../../src/base/random.ts';
import type { SessionInput } from '../../src/chat/session-events.ts';
import type {
  AttemptEffect,
  AttemptInput,
  ConnectionId,
  FriendGreeting,
  LinkEffect,
  LinkInput,
} from '../../src/peer/link-events.ts';
import { isAttemptEffect } from '../../src/peer/link-events.ts';
import type { Match } from '../../src/peer/match.ts';
import type { Endpoint, SessionId } from '../../src/rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../../src/rpc/generated/chatty/v1/peer.ts';
import { compareSessions, formatSession } from '../../src/rpc/session-id.ts';
import { type End, type Paths, Process, type Sent, type Who } from './link-process.ts';
import { IDLE_MS, type LinkNet, LinkWires } from './link-wires.ts';
import { VirtualClock } from './virtual-clock.ts';

/** As `src/quic` and `src/path` have them. */
const HANDSHAKE_MS = 5_000;
const PATH_LOST_MS = 6_500;
const ROUNDS_MS = 12_000;

/** A simulated cluster that the two people are part of: it begins, matches and ends their programs. */
export interface Cluster {
  readonly clock: VirtualClock;
  readonly fingerprints: readonly [Uint8Array, Uint8Array];
  note(text: string): void;
  /** A program says its wish again. */
  renewWish(who: Who, session: SessionId): void;
}

/** Two people, the network between them, the servers that match them, and what can go wrong. */
export class World {
  readonly clock: VirtualClock;
  readonly trace: string[] = [];
  /** The newest run of each one's program. */
  readonly people: [Process, Process];
  /** How often either user was told that the friend is lost for the moment. */
  reconnects = 0;
  readonly #random: Random;
  /** Nothing takes long, and no dial fails. */
  readonly #swift: boolean;
  readonly #fingerprints: readonly [Uint8Array, Uint8Array];
  readonly #cluster: Cluster | undefined;
  /** Every run of anybody's program. */
  readonly runs: Process[] = [];
  /** Every program that runs; an older one of a person's may outlive a newer. */
  #running: Process[] = [];
  #starts = 0;
  readonly #wires: LinkWires;
  #connections = 0;
  #linkUp = true;
  /** Counts the times the network broke. */
  #outage = 0;

  constructor(random: Random, options: { readonly swift: boolean; readonly cluster?: Cluster }) {
    this.#random = random;
    this.#swift = options.swift;
    this.#wires = new LinkWires(this.#net());
    this.#cluster = options.cluster;
    this.clock = options.cluster?.clock ?? new VirtualClock();
    const [low, high] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    this.#fingerprints =
      options.cluster?.fingerprints ?? (random.below(2) === 0 ? [low, high] : [high, low]);
    this.people = [this.#newProcess(0), this.#newProcess(1)];
    // In a cluster programs begin when it says so.
    if (options.cluster !== undefined) for (const process of this.people) process.dead = true;
    else for (const process of this.people) this.#begin(process);
    this.#note(`the lower fingerprint is ${this.isLower(0) ? 'A' : 'B'}'s`);
  }

  #net(): LinkNet {
    const linkUp = (): boolean => this.#linkUp;
    const clock = (): Clock => this.clock;
    return {
      get clock() {
        return clock();
      },
      get linkUp() {
        return linkUp();
      },
      swift: this.#swift,
      below: (bound) => this.#random.below(bound),
      between: (lowMs, highMs) => this.between(lowMs, highMs),
      mishap: (percent) => this.#mishap(percent),
      after: (delayMs, act) => this.after(delayMs, act),
      note: (text) => this.#note(text),
      receive: (to, sent) => this.#receive(to, sent),
      closed: (end) => this.#step(end.process, { type: 'closed', connection: end.id }),
    };
  }

  isLower(who: Who): boolean {
    return compareBytes(this.#fingerprints[who], this.#fingerprints[who === 0 ? 1 : 0]) < 0;
  }

  #newProcess(who: Who): Process {
    const startedAt = BigInt(++this.#starts);
    const session = { startedAt, nonce: Buffer.from(this.#random.bytes(16)) };
    return new Process(who, session, this.#fingerprints[who]);
  }

  friendOf({ who }: Process): Process {
    return this.people[who === 0 ? 1 : 0];
  }

  between(lowMs: number, highMs: number): number {
    return lowMs + this.#random.below(highMs - lowMs + 1);
  }

  chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  /** Whether something unusual happens. */
  #mishap(percent: number): boolean {
    return !this.#swift && this.chance(percent);
  }

  #note(text: string): void {
    if (this.#cluster !== undefined) this.#cluster.note(text);
    else this.trace.push(`${String(Math.round(this.clock.now())).padStart(7)} ${text}`);
  }

  after(delayMs: number, act: () => void): void {
    this.clock.setTimer(delayMs, act);
  }

  // --- the servers ---

  /** Both are told of each other, each in its own time and not only once. */
  matchBoth(): void {
    const waiting = this.#random.below(3);
    for (const process of this.people) {
      const friend = this.friendOf(process);
      const friendWasWaiting = waiting === 0 || (waiting === 1 && process.who === 0);
      for (let times = this.chance(20) ? 2 : 1; times > 0; times--) {
        const delayMs = this.#mishap(15) ? this.between(500, 5_000) : this.between(1, 200);
        this.#match(process, friend, friendWasWaiting, delayMs);
      }
    }
  }

  #match(to: Process, friend: Process, friendWasWaiting: boolean, delayMs: number): void {
    this.after(delayMs, () => {
      const key = this.#fingerprints[friend.who];
      this.#step(to, {
        type: 'match',
        match: { session: friend.session, key, endpoint: endpointOf(friend), friendWasWaiting },
      });
    });
  }

  /** A wish said again is answered with a match if the friend is there. */
  #renewWish(process: Process): void {
    if (this.#cluster !== undefined) {
      this.#cluster.renewWish(process.who, process.session);
      return;
    }
    // Of several of one person's, servers know the newest.
    if (this.people[process.who] !== process) return;
    const delayMs = this.between(5, 300);
    this.after(delayMs, () => this.#match(process, this.friendOf(process), this.chance(50), 0));
  }

  // --- what can go wrong ---

  /** A server tells one side of a session of the friend's that there is not. */
  lie(who: Who): void {
    const process = this.people[who];
    const friend = this.friendOf(process);
    const startedAt = BigInt(1_000_000 + this.#random.below(1_000_000));
    const session = { startedAt, nonce: Buffer.from(this.#random.bytes(16)) };
    const ufrag = this.chance(50) ? friend.ufrag : 'nobody';
    const endpoint = { ...endpointOf(friend), ufrag };
    const key = this.#fingerprints[friend.who];
    this.#note(`LIE to ${process.label}`);
    const match = { session, key, endpoint, friendWasWaiting: this.chance(50) };
    this.#step(process, { type: 'match', match });
  }

  breakNetwork(): void {
    if (!this.#linkUp) return;
    this.#linkUp = false;
    const outage = ++this.#outage;
    this.#note('NETWORK down');
    const still = (): boolean => !this.#linkUp && this.#outage === outage;
    for (const process of this.#running) {
      for (const paths of process.attempts) {
        this.after(PATH_LOST_MS + this.between(0, 500), () => {
          if (still()) this.#losePath(process, paths);
        });
      }
      for (const end of process.openEnds) {
        this.after(IDLE_MS + this.between(-500, 500), () => {
          if (still()) this.#wires.close(end);
        });
      }
    }
  }

  healNetwork(): void {
    if (this.#linkUp) return;
    this.#linkUp = true;
    this.#note('NETWORK up');
    this.#findPaths();
    for (const process of this.#running) {
      for (const end of process.openEnds) this.#wires.deliverAll(end);
    }
  }

  /** One side's way out changes: its paths are gone for a while. */
  losePathOf(who: Who): void {
    this.#losePath(this.people[who], this.people[who].paths);
  }

  /** One side's QUIC gives a connection up; the other may hear of it, or not. */
  cut(who: Who): void {
    const ends = this.people[who].openEnds;
    const end = ends[this.#random.below(Math.max(1, ends.length))];
    if (end === undefined) return;
    this.#note(`CUT ${end.label} at ${end.process.label}`);
    this.#wires.close(end);
  }

  restart(who: Who): void {
    this.#end(this.people[who], this.chance(50));
    this.#begin(this.#newProcess(who));
    this.matchBoth();
  }

  /** A newer program of a person's comes, unknown to the one that runs; or goes, and that is left. */
  usurp(who: Who): void {
    const [one, other] = this.#running.filter((process) => process.who === who);
    if (one !== undefined && other !== undefined) {
      this.#end(other, this.chance(50));
      this.people[who] = one;
    } else this.#begin(this.#newProcess(who));
    this.matchBoth();
  }

  /** A program ends its conversation without a word and begins another. */
  renew(who: Who): void {
    const process = this.people[who];
    this.#note(`RENEW ${process.label}`);
    this.#step(process, { type: 'goodbye' });
    process.renew();
    this.matchBoth();
  }

  get settled(): boolean {
    return this.#agree(...this.people);
  }

  /** The same for one run of each one's program in the cluster. */
  settledBetween(sessions: readonly [SessionId, SessionId]): boolean {
    const [one, other] = [this.#runOf(0, sessions[0]), this.#runOf(1, sessions[1])];
    return one !== undefined && other !== undefined && this.#agree(one, other);
  }

  /** Whether both sides use one and the same connection, and no other is open. */
  #agree(one: Process, other: Process): boolean {
    const [end] = one.openEnds;
    return (
      end !== undefined &&
      one.openEnds.length === 1 &&
      other.openEnds.length === 1 &&
      one.machine.active === end.id &&
      end.peer !== undefined &&
      other.machine.active === end.peer.id &&
      other.openEnds[0] === end.peer
    );
  }

  /** A server of the cluster tells a run of a person's program, which begins with that, of the friend's. */
  matched(who: Who, session: SessionId, match: Match): void {
    let process = this.#runOf(who, session);
    if (process === undefined) {
      process = new Process(who, session, this.#fingerprints[who]);
      this.#begin(process);
    }
    this.#step(process, { type: 'match', match });
  }

  /** A run of a person's program ends in the cluster. */
  end(who: Who, session: SessionId, graceful: boolean): void {
    const process = this.#runOf(who, session);
    if (process !== undefined) this.#end(process, graceful);
  }

  #runOf(who: Who, session: SessionId): Process | undefined {
    return this.#running.find(
      (process) => process.who === who && compareSessions(process.session, session) === 0,
    );
  }

  #end(old: Process, graceful: boolean): void {
    if (old.dead) return;
    this.#note(`END ${old.label}${graceful ? ', with goodbye' : ''}`);
    if (graceful) {
      const friend = this.#talksWith(old);
      if (friend !== undefined && this.#linkUp) this.#step(friend, { type: 'goodbye' });
      this.#step(old, { type: 'goodbye' });
    }
    old.dead = true;
    old.timer?.cancel();
    old.paths = undefined;
    old.beside = undefined;
    this.#running = this.#running.filter((each) => each !== old);
    for (const end of old.openEnds) {
      end.open = false;
      this.#wires.abandon(end);
    }
    this.#loseMismatchedPaths();
  }

  #begin(process: Process): void {
    this.people[process.who] = process;
    this.#running.push(process);
    this.runs.push(process);
    this.#loseMismatchedPaths();
  }

  /** Whose frames go over the same connection as this one's. */
  #talksWith(process: Process): Process | undefined {
    const { active } = process.machine;
    const peer = active === undefined ? undefined : process.ends.get(active)?.peer;
    return peer?.open === true && peer.id === peer.process.machine.active
      ? peer.process
      : undefined;
  }

  say(who: Who): void {
    const process = this.people[who];
    process.said++;
    this.#converse(process, { type: 'submit', text: `${process.label}/${process.said}` });
  }

  // --- one process ---

  #step(process: Process, input: LinkInput): void {
    if (process.dead) return;
    const { machine } = process;
    const wasActive = machine.active;
    this.#note(`${process.label} <- ${describe(input)}`);
    const effects = machine.step(input, this.clock.now());
    if (wasActive !== undefined && machine.active === undefined) {
      this.#converse(process, { type: 'disconnected' });
    }
    for (const effect of effects) this.#act(process, effect);
    process.timer?.cancel();
    const deadline = machine.nextDeadline();
    if (deadline === undefined) return;
    if (input.type === 'tick' && deadline <= this.clock.now()) {
      throw new Error(`${process.label} is due again at once after a tick`);
    }
    process.timer = this.clock.setTimer(deadline - this.clock.now(), () =>
      this.#step(process, { type: 'tick' }),
    );
  }

  /** @returns the paths that the effect leaves. */
  #attempt(process: Process, paths: Paths | undefined, effect: AttemptEffect): Paths | undefined {
    switch (effect.type) {
      case 'punch': {
        const { session: to, endpoint } = effect.match;
        const checkingUntil = this.clock.now() + ROUNDS_MS;
        return { to, ufrag: endpoint.ufrag, ready: false, checkingUntil };
      }
      case 'repunch':
        if (paths !== undefined) paths.checkingUntil = this.clock.now() + ROUNDS_MS;
        return paths;
      case 'stop-punching':
        return undefined;
      case 'dial':
        this.#dial(process, paths);
        return paths;
      case 'merge':
        return paths;
    }
  }

  #act(process: Process, effect: LinkEffect): void {
    this.#note(`${process.label}    ${describe(effect)}`);
    if (isAttemptEffect(effect)) {
      process.paths = this.#attempt(process, process.paths, effect);
      this.#loseMismatchedPaths();
      this.#findPaths();
      return;
    }
    switch (effect.type) {
      case 'beside':
        process.beside = this.#attempt(process, process.beside, effect.effect);
        this.#loseMismatchedPaths();
        this.#findPaths();
        return;
      case 'promote':
        process.paths = process.beside;
        process.beside = undefined;
        this.#loseMismatchedPaths();
        return;
      case 'send-hello':
        this.#wires.send(process, effect.connection, {
          kind: 'hello',
          generation: effect.generation,
          greeting: process.conversation.greeting(this.#matched(process, effect.connection)),
        });
        return;
      case 'send-welcome': {
        const { generation, conversation: theirs } = effect;
        const session = this.#matched(process, effect.connection);
        const greeting = process.conversation.greeting(session, theirs);
        this.#wires.send(process, effect.connection, {
          kind: 'welcome',
          generation,
          greeting: { ...greeting, toConversation: undefined },
        });
        return;
      }
      case 'close': {
        const end = process.ends.get(effect.connection);
        if (end?.open === true) this.#wires.close(end, false);
        return;
      }
      case 'connected': {
        if (!effect.first) return;
        const pair = formatSession(this.#matched(process, effect.connection));
        if (process.firsts.has(pair)) throw new Error(`${process.label} is first connected twice`);
        process.firsts.add(pair);
        return;
      }
      case 'activate': {
        const { session, greeting } = effect;
        this.#wires.openEnd(process, effect.connection);
        this.#converse(process, {
          type: 'connected',
          friendSession: session,
          greeting,
        });
        const { receivedUpTo: number, toConversation } = process.conversation.greeting(session);
        const kind = { $case: 'acknowledgement', value: { number, toConversation } } as const;
        if (number > 0n) this.#sendFrame(process, { kind });
        return;
      }
      case 'greeted':
        this.#converse(process, { type: 'greeted', greeting: effect.greeting });
        return;
      case 'disconnected':
      case 'unreachable':
      case 'ask-again':
        this.#renewWish(process);
        return;
      case 'reconnecting':
        this.reconnects++;
        return;
      case 'restored':
        return;
    }
  }

  #matched(process: Process, connection: ConnectionId): SessionId {
    const match = process.machine.matchOf(connection);
    if (match === undefined) throw new Error(`${process.label} has no match`);
    return match.session;
  }

  #converse(process: Process, input: SessionInput): void {
    for (const effect of process.conversation.step(input, this.clock.now())) {
      if (effect.type === 'send') this.#sendFrame(process, effect.frame);
      else if (effect.type === 'outdated') this.#drop(process);
      else if (effect.type === 'fault') throw new Error(`${process.label}: ${effect.message}`);
      else if (effect.type === 'deliver') {
        process.received.push(effect.text);
        const { number } = effect;
        const { conversation } = process;
        this.after(this.between(0, 50), () => {
          if (process.dead || process.conversation !== conversation) return;
          this.#converse(process, { type: 'delivered', number });
        });
      }
    }
  }

  #drop(process: Process): void {
    const { active } = process.machine;
    const end = active === undefined ? undefined : process.ends.get(active);
    if (end !== undefined) this.#wires.close(end);
  }

  #sendFrame(process: Process, frame: PeerFrame): void {
    const { active } = process.machine;
    if (active !== undefined) this.#wires.send(process, active, { kind: 'frame', frame });
  }

  // --- paths ---

  /** Who is at the other end of these paths, and checks paths back. */
  #target({ who, session }: Process, { to, ufrag }: Paths): Process | undefined {
    return this.#running.find(
      (other) =>
        other.who !== who &&
        (compareSessions(other.session, to) === 0 || other.ufrag === ufrag) &&
        other.attempts.some((back) => compareSessions(back.to, session) === 0),
    );
  }

  #findPaths(): void {
    for (const process of this.#running) {
      for (const paths of process.attempts) {
        this.after(this.between(10, 300), () => {
          if (!this.#linkUp || paths.ready || !process.attempts.includes(paths)) return;
          const target = this.#target(process, paths);
          const back = target?.attempts.filter(
            ({ to }) => compareSessions(to, process.session) === 0,
          );
          const until = Math.max(...[paths, ...(back ?? [])].map((each) => each.checkingUntil));
          if (target === undefined || until <= this.clock.now()) return;
          paths.ready = true;
          this.#stepAttempt(process, paths, { type: 'path-ready' });
        });
      }
    }
  }

  #stepAttempt(process: Process, paths: Paths, input: AttemptInput): void {
    if (process.paths === paths) this.#step(process, input);
    else if (process.beside === paths) this.#step(process, { type: 'beside', input });
  }

  #losePath(process: Process, paths: Paths | undefined): void {
    if (paths?.ready !== true) return;
    paths.ready = false;
    paths.checkingUntil = this.clock.now() + ROUNDS_MS;
    this.#stepAttempt(process, paths, { type: 'path-lost' });
    this.#findPaths();
  }

  /** What is no longer answered is lost after a while. */
  #loseMismatchedPaths(): void {
    for (const process of this.#running) {
      for (const paths of process.attempts) {
        if (!paths.ready || this.#target(process, paths) !== undefined) continue;
        this.after(PATH_LOST_MS, () => {
          if (!process.attempts.includes(paths)) return;
          if (this.#target(process, paths) === undefined) this.#losePath(process, paths);
        });
      }
    }
  }

  // --- connections ---

  #dial(process: Process, paths: Paths | undefined): void {
    const label = `c${++this.#connections}`;
    const startedAt = this.clock.now();
    this.#note(`${process.label}    dials ${label}`);
    const attempt = (): void => {
      if (paths === undefined || !process.attempts.includes(paths)) return;
      if (this.clock.now() >= startedAt + HANDSHAKE_MS || this.#mishap(6)) {
        this.#stepAttempt(process, paths, { type: 'dial-failed' });
        return;
      }
      const friend = this.#target(process, paths);
      if (!this.#linkUp || friend === undefined) {
        this.after(100, attempt);
        return;
      }
      const end = this.#wires.newEnd(process, label, paths.to);
      // The dialer is done first: its last flight is on its way.
      this.after(this.between(0, 150), () => this.#accept(end, friend));
      this.#stepAttempt(process, paths, { type: 'dialled', connection: end.id });
    };
    this.after(this.#mishap(10) ? this.between(300, 3_000) : this.between(2, 150), attempt);
  }

  #accept(dialler: End, friend: Process): void {
    const paths = friend.attempts.find(
      ({ to }) => compareSessions(to, dialler.process.session) === 0,
    );
    if (friend.dead || paths === undefined) return;
    if (!this.#linkUp) {
      // It is repeated until the dialler gives up.
      if (dialler.open) this.after(100, () => this.#accept(dialler, friend));
      else this.#note(`${dialler.label} never reached ${friend.label}`);
      return;
    }
    if (!dialler.open && this.#mishap(50)) return;
    const end = this.#wires.newEnd(friend, dialler.label, undefined);
    end.peer = dialler;
    dialler.peer = end;
    this.#stepAttempt(friend, paths, { type: 'accepted', connection: end.id });
    this.#wires.deliverAll(dialler);
    if (!dialler.open) this.#wires.abandon(dialler);
  }

  #receive(to: End, sent: Sent): void {
    const { process, id } = to;
    if (sent.kind === 'frame') {
      if (!process.machine.carries(id)) return;
      if (process.machine.active === undefined) throw new Error('frames come where none can go');
      this.#converse(process, { type: 'frame', frame: sent.frame });
      return;
    }
    const { generation, greeting } = sent;
    const session = to.peer?.process.session;
    if (session === undefined) throw new Error('a greeting from nobody');
    if (sent.kind === 'welcome') {
      this.#step(process, { type: 'welcome', connection: id, session, generation, greeting });
      return;
    }
    const meant = to.peer?.to;
    if (meant === undefined || compareSessions(meant, process.session) !== 0) {
      this.#wires.close(to);
      return;
    }
    this.#step(process, { type: 'hello', connection: id, session, generation, greeting });
  }
}

function endpointOf({ ufrag }: Process): Endpoint {
  return { candidates: [], ufrag, password: '', relayRefused: false };
}

function describe(event: LinkInput | LinkEffect): string {
  const details = Object.entries(event).flatMap(([name, value]: [string, unknown]) => {
    if (name === 'type' || name === 'key' || name === 'endpoint') return [];
    if (name === 'greeting')
      return [`conversation ${(value as FriendGreeting | undefined)?.conversation ?? '?'}`];
    if (name === 'match') {
      const match = value as { session: SessionId; friendWasWaiting: boolean };
      return [`session ${match.session.startedAt}, waiting ${match.friendWasWaiting}`];
    }
    if (name === 'session') return [`session ${(value as SessionId).startedAt}`];
    return [`${name} ${String(value)}`];
  });
  return `${event.type} ${details.join(', ')}`;
}
