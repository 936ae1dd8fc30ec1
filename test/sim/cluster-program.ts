import type { Clock, Timer } from '../../src/base/clock.ts';
import type { Member, MemberFact } from '../../src/rendezvous/member.ts';
import type { Network } from './cluster-network.ts';
import type { WireEnd } from './cluster-wire.ts';

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
