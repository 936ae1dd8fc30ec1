import type { Address } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import type { GuessProgress, PortGuess, PortGuessEffect, PortGuessInput } from '../path/index.ts';

export interface PortGuesserOptions {
  readonly guess: PortGuess;
  readonly clock: Clock;
  openSocket(): Promise<Address>;
  closeSocket(local: Address): Promise<void>;
  /** Has the path agent check a guessed port. */
  check(remote: Address, local: Address | undefined, short: boolean): void;
  /** Whether the friend was heard at a socket. */
  isHeardAt(local: Address): boolean;
  /** A socket is closed: what the agent knows of it is over. */
  socketClosed(local: Address): void;
  /** Asks servers where the next mapping will be, and has the friend told. */
  report(): void;
  progress(progress: GuessProgress): void;
}

/** Of earlier attempts, so many sockets stay open at which the friend was heard. */
const MAX_KEPT = 8;

/** The sockets and the timer behind the guessing of ports towards one session of a friend. */
export class PortGuesser {
  readonly #options: PortGuesserOptions;
  /** Of the attempt that runs, by number. */
  #attempt: Address[] = [];
  /** Of this and earlier attempts: all that are open. */
  readonly #sockets = new Set<Address>();
  /** Counts attempts, so that sockets that open too late are known. */
  #attempts = 0;
  readonly #alarm: Alarm;
  #closed = false;

  constructor(options: PortGuesserOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => this.step({ type: 'tick' }));
  }

  /** Whether a socket is one of its. */
  has(local: Address): boolean {
    return this.#sockets.has(local);
  }

  step(input: PortGuessInput): void {
    if (this.#closed) return;
    const { guess, clock } = this.#options;
    for (const effect of guess.step(input, clock.now())) this.#carryOut(effect);
    this.#alarm.set(guess.nextDeadline(clock.now()));
  }

  close(): void {
    this.#closed = true;
    this.#attempts++;
    this.#alarm.cancel();
    this.#options.guess.close();
    for (const socket of [...this.#sockets]) this.#close(socket);
  }

  #carryOut(effect: PortGuessEffect): void {
    switch (effect.type) {
      case 'report':
        this.#options.report();
        return;
      case 'open-sockets':
        void this.#open(effect.count);
        return;
      case 'close-sockets':
        this.#closeUnheard();
        return;
      case 'guess':
        this.#check(effect.remote, effect.socket, effect.short);
        return;
      case 'progress':
        this.#options.progress(effect.progress);
    }
  }

  #check(remote: Address, socket: number | undefined, short: boolean): void {
    const local = socket === undefined ? undefined : this.#attempt[socket];
    if (socket === undefined || local !== undefined) this.#options.check(remote, local, short);
  }

  async #open(count: number): Promise<void> {
    const attempt = ++this.#attempts;
    // Where the friend was heard in attempts before, a path may be about to open; seldom in many.
    for (const socket of [...this.#sockets].slice(0, -MAX_KEPT)) this.#close(socket);
    // Where the system gives fewer, there are fewer.
    const opening = Array.from({ length: count }, () => this.#options.openSocket());
    const settled = await Promise.allSettled(opening);
    const opened = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    if (attempt !== this.#attempts || this.#closed) {
      for (const socket of opened) void this.#options.closeSocket(socket);
      return;
    }
    this.#attempt = opened;
    for (const socket of opened) this.#sockets.add(socket);
    this.step({ type: 'opened', sockets: opened.length });
  }

  /** The winner carries the conversation; what else the friend was heard at may be what it chose. */
  #closeUnheard(): void {
    this.#attempts++;
    const unheard = this.#attempt.filter((socket) => !this.#options.isHeardAt(socket));
    this.#attempt = [];
    for (const socket of unheard) this.#close(socket);
  }

  #close(socket: Address): void {
    if (!this.#sockets.delete(socket)) return;
    this.#options.socketClosed(socket);
    void this.#options.closeSocket(socket);
  }
}
