import type { Clock, Timer } from '../../src/base/clock.ts';
import type { Random } from '../../src/base/random.ts';
import type { Member, MemberFact } from '../../src/rendezvous/member.ts';
import { VirtualClock } from './virtual-clock.ts';

/** What one program asks of another in a call. */
export type Request =
  | { readonly kind: 'register'; readonly member: Member }
  | { readonly kind: 'deregister'; readonly id: string; readonly incarnation: number }
  | { readonly kind: 'get-servers' }
  | { readonly kind: 'health' }
  | { readonly kind: 'probe'; readonly address: string; readonly deadlineMs: number }
  | { readonly kind: 'notify'; readonly facts: readonly MemberFact[]; readonly spread: boolean };

export type Response =
  | { readonly kind: 'registered'; readonly listed: boolean; readonly members: readonly Member[] }
  | { readonly kind: 'members'; readonly members: readonly Member[] }
  | { readonly kind: 'health'; readonly healthy: boolean }
  | { readonly kind: 'done' }
  /** The program said no. */
  | { readonly kind: 'error' }
  /** Nobody listens there, and its computer says so. */
  | { readonly kind: 'refused' }
  /** Nothing came back in time. */
  | { readonly kind: 'silent' };

/** tcp: a computer whose program is gone says so. quic: nobody does. */
type Protocol = 'tcp' | 'quic';

/** RFC 6298: a packet without answer is sent again after this, and then after twice that. */
const RETRANSMIT_MS = 200;
const MAX_RETRANSMIT_MS = 1_600;
/** As peers keep their connections alive, and servers give them up. */
const KEEP_ALIVE_MS = 15_000;
const KEEP_ALIVE_ANSWER_MS = 3_000;
const IDLE_MS = 40_000;

/** A running program. Its calendar may jump; it may stand still, and it may die. */
export class Program implements Clock {
  readonly network: Network;
  readonly label: string;
  /** Its computer: what partitions cut off. */
  readonly place: string;
  readonly startedAt: number;
  readonly ends = new Set<WireEnd>();
  /** How far its calendar is off. */
  calendarMs = 0;
  #state: 'running' | 'paused' | 'dead' = 'running';
  #backlog: (() => void)[] = [];

  constructor(network: Network, label: string, place: string) {
    this.network = network;
    this.label = label;
    this.place = place;
    this.startedAt = network.clock.now();
    network.programs.add(this);
    network.silentPlaces.delete(place);
  }

  get alive(): boolean {
    return this.#state !== 'dead';
  }

  get paused(): boolean {
    return this.#state === 'paused';
  }

  say(text: string): void {
    this.network.say(`${this.label} ${text}`);
  }

  /** Runs `what` as soon as the program runs, and never if it is dead. */
  act(what: () => void): void {
    if (this.#state === 'running') what();
    else if (this.#state === 'paused') this.#backlog.push(what);
  }

  now(): number {
    return this.network.clock.now();
  }

  wallClock(): number {
    return this.network.clock.wallClock() + this.calendarMs;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    let cancelled = false;
    const timer = this.network.clock.setTimer(delayMs, () =>
      this.act(() => {
        if (!cancelled) fire();
      }),
    );
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  sleep(): Promise<void> {
    throw new Error('nothing in the simulation sleeps');
  }

  pause(): void {
    if (this.#state !== 'running') return;
    this.say('STANDS STILL');
    this.#state = 'paused';
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.say('goes on');
    this.#state = 'running';
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const what of backlog) this.act(what);
  }

  /** @param silently its computer dies with it, and nobody says that it is gone. */
  die(silently: boolean): void {
    if (!this.alive) return;
    this.#state = 'dead';
    this.#backlog = [];
    this.network.programs.delete(this);
    this.network.release(this);
    if (silently) this.network.silentPlaces.add(this.place);
    for (const end of [...this.ends]) end.vanish(silently);
    this.ends.clear();
  }

  /** A call has come. `answer` may be called later, once. */
  receive(_request: Request, answer: (response: Response) => void): void {
    answer({ kind: 'error' });
  }

  /** A connection has come. */
  accept(end: WireEnd): void {
    end.close();
  }
}

/** Everything between the programs: it delays, loses, repeats, parts and heals. */
export class Network {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly trace: string[] = [];
  readonly programs = new Set<Program>();
  /** Computers that are down. */
  readonly silentPlaces = new Set<string>();
  /** Of a hundred packets. */
  lost = 0;
  /** Of a hundred calls, so many are made twice. */
  repeated = 0;
  readonly #parted = new Set<string>();
  readonly #listeners = new Map<string, Program>();

  constructor(random: Random) {
    this.random = random;
  }

  say(text: string): void {
    this.trace.push(`${this.clock.now().toFixed(0).padStart(7)} ${text}`);
  }

  chance(percent: number): boolean {
    return percent > 0 && this.random.below(100) < percent;
  }

  /** One way: now and then a packet has to be sent again. */
  latencyMs(): number {
    const again = this.chance(this.lost) ? RETRANSMIT_MS * 2 ** this.random.below(3) : 0;
    return 1 + this.random.below(60) + again;
  }

  listen(address: string, program: Program): void {
    this.#listeners.set(address, program);
  }

  /** Nobody listens for the program any more, at `address` or anywhere. */
  release(program: Program, address?: string): void {
    for (const [held, holder] of this.#listeners) {
      if (holder === program && (address ?? held) === held) this.#listeners.delete(held);
    }
  }

  part(a: string, b: string): void {
    if (a !== b) this.#parted.add([a, b].sort().join(' '));
  }

  get whole(): boolean {
    return this.#parted.size === 0;
  }

  /** @returns what was parted. */
  heal(): readonly string[] {
    const parted = [...this.#parted];
    this.#parted.clear();
    return parted;
  }

  reachable(a: string, b: string): boolean {
    return this.#parted.size === 0 || !this.#parted.has([a, b].sort().join(' '));
  }

  /** Brings something from one place to another, trying as TCP does until `giveUpAt`. */
  carry(from: string, to: string, giveUpAt: number, arrive: () => void, attempt = 0): void {
    this.clock.setTimer(this.latencyMs(), () => {
      if (this.reachable(from, to)) {
        arrive();
        return;
      }
      const waitMs = Math.min(MAX_RETRANSMIT_MS, RETRANSMIT_MS * 2 ** attempt);
      if (this.clock.now() + waitMs > giveUpAt) return;
      this.clock.setTimer(waitMs, () => this.carry(from, to, giveUpAt, arrive, attempt + 1));
    });
  }

  /** A call on a connection of its own; `done` is called once, at the deadline at the latest. */
  call(
    from: Program,
    address: string,
    request: Request,
    deadlineMs: number,
    done: (response: Response) => void,
  ): void {
    let over = false;
    const giveUpAt = this.clock.now() + deadlineMs;
    const finish = (response: Response): void => {
      if (over) return;
      over = true;
      timer.cancel();
      done(response);
    };
    const timer = from.setTimer(deadlineMs, () => finish({ kind: 'silent' }));
    const place = placeOf(address);
    const back = (response: Response): void =>
      this.carry(place, from.place, giveUpAt, () => from.act(() => finish(response)));
    for (let times = this.chance(this.repeated) ? 2 : 1; times > 0; times--) {
      this.carry(from.place, place, giveUpAt, () => {
        const to = this.#listeners.get(address);
        if (to !== undefined) to.act(() => to.receive(request, back));
        else if (!this.silentPlaces.has(place)) back({ kind: 'refused' });
      });
    }
  }

  /** A connection; exactly one of the two is called, `failed` at the deadline at the latest. */
  open(
    from: Program,
    address: string,
    protocol: Protocol,
    deadlineMs: number,
    handlers: { readonly opened: (end: WireEnd) => void; readonly failed: () => void },
  ): void {
    const giveUpAt = this.clock.now() + deadlineMs;
    const place = placeOf(address);
    let over = false;
    const fail = (): void => {
      if (over) return;
      over = true;
      timer.cancel();
      handlers.failed();
    };
    const timer = from.setTimer(deadlineMs, fail);
    this.carry(from.place, place, giveUpAt, () => {
      const to = this.#listeners.get(address);
      if (to === undefined) {
        const says = protocol === 'tcp' && !this.silentPlaces.has(place);
        if (says) this.carry(place, from.place, giveUpAt, () => from.act(fail));
        return;
      }
      to.act(() => {
        if (!from.alive) return;
        const [near, far] = [new WireEnd(from, protocol), new WireEnd(to, protocol)];
        near.other = far;
        far.other = near;
        far.begin();
        if (protocol === 'quic') far.expectWithin(IDLE_MS);
        to.accept(far);
        this.carry(place, from.place, giveUpAt, () =>
          from.act(() => {
            if (over) {
              near.close();
              return;
            }
            over = true;
            timer.cancel();
            if (protocol === 'quic') near.keepAlive();
            handlers.opened(near);
            near.begin();
          }),
        );
      });
    });
  }
}

type Item = Uint8Array | 'ping' | 'pong' | 'end';

/** One end of a connection: what is sent arrives in order, late, or not at all. */
export class WireEnd {
  readonly program: Program;
  readonly #protocol: Protocol;
  other: WireEnd | undefined;
  onFrame: (bytes: Uint8Array) => void = () => undefined;
  /** The connection is over, and not by this end's doing. */
  onClose: (reason: string) => void = () => undefined;
  #open = true;
  /** What came before this end was told of its connection; undefined from then on. */
  #early: Item[] | undefined = [];
  /** What was sent and has not arrived. */
  readonly #inFlight: Item[] = [];
  #lastArrivalAt = 0;
  #heardAt: number;
  #timer: Timer | undefined;
  #idleTimer: Timer | undefined;

  constructor(program: Program, protocol: Protocol) {
    this.program = program;
    this.#protocol = protocol;
    this.#heardAt = program.now();
    program.ends.add(this);
  }

  get open(): boolean {
    return this.#open;
  }

  begin(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const item of early) this.#take(item);
  }

  send(bytes: Uint8Array): void {
    if (this.#open) this.#put(bytes);
  }

  /** Says goodbye, after what was sent before. */
  close(): void {
    if (!this.#open) return;
    this.#put('end');
    this.#shut();
  }

  /** Ends it here without a word. */
  drop(): void {
    this.#shut();
    this.#inFlight.length = 0;
  }

  /** The program is dead. */
  vanish(silently: boolean): void {
    this.#shut();
    this.#inFlight.length = 0;
    if (!silently && this.#protocol === 'tcp') this.#reset();
  }

  /** Gives the connection up when nothing is heard for so long. */
  expectWithin(ms: number): void {
    this.#idleTimer = this.program.setTimer(this.#heardAt + ms - this.program.now(), () => {
      if (this.program.now() - this.#heardAt >= ms) this.#fail('nothing was heard for too long');
      else this.expectWithin(ms);
    });
  }

  keepAlive(): void {
    this.#timer = this.program.setTimer(KEEP_ALIVE_MS, () => {
      const askedAt = this.program.now();
      this.#put('ping');
      this.#timer = this.program.setTimer(KEEP_ALIVE_ANSWER_MS, () => {
        if (this.#heardAt >= askedAt) this.keepAlive();
        else this.#fail('a keep-alive was not answered');
      });
    });
  }

  #put(item: Item): void {
    const { network } = this.program;
    this.#inFlight.push(item);
    this.#lastArrivalAt = Math.max(this.#lastArrivalAt, this.program.now() + network.latencyMs());
    network.clock.setTimer(this.#lastArrivalAt - this.program.now(), () => this.#arrive(0));
  }

  /** The oldest that is in flight arrives, if the network lets it. */
  #arrive(attempt: number): void {
    const { other } = this;
    if (other === undefined || this.#inFlight.length === 0) return;
    const { network } = this.program;
    if (!network.reachable(this.program.place, other.program.place)) {
      // What is closed sends nothing again, but for TCP's computer, which does for a while.
      if (!this.#open && (this.#protocol === 'quic' || attempt > 6)) return;
      const waitMs = Math.min(MAX_RETRANSMIT_MS, RETRANSMIT_MS * 2 ** attempt);
      network.clock.setTimer(waitMs, () => this.#arrive(attempt + 1));
      return;
    }
    const item = this.#inFlight.shift();
    if (item === undefined) return;
    if (!other.program.alive || !other.#open) {
      const says = this.#protocol === 'tcp' && !network.silentPlaces.has(other.program.place);
      if (says && this.#open) other.#reset();
      return;
    }
    // A QUIC connection's goodbye is one packet, never repeated.
    if (item === 'end' && this.#protocol === 'quic' && network.chance(network.lost)) return;
    other.program.act(() => other.#take(item));
  }

  #take(item: Item): void {
    if (!this.#open) return;
    if (this.#early !== undefined) {
      this.#early.push(item);
      return;
    }
    this.#heardAt = this.program.now();
    if (item === 'ping') this.#put('pong');
    else if (item === 'end') this.#fail('the other side closed it');
    else if (item !== 'pong') this.onFrame(item);
  }

  /** Tells the other end that this one is not there. */
  #reset(): void {
    const { other } = this;
    if (other === undefined) return;
    const { network, place } = this.program;
    network.carry(place, other.program.place, 0, () =>
      other.program.act(() => other.#fail('the connection was reset')),
    );
  }

  #fail(reason: string): void {
    if (!this.#open) return;
    this.#shut();
    this.onClose(reason);
  }

  #shut(): void {
    this.#open = false;
    this.#timer?.cancel();
    this.#idleTimer?.cancel();
    this.program.ends.delete(this);
  }
}

/** The computer behind an address, `place:port`. */
function placeOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
