import type { Address } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import type { Path, Reopening, ReopeningEffect, ReopeningInput } from '../path/index.ts';

export interface PathReopenerOptions {
  readonly reopening: Reopening;
  readonly clock: Clock;
  openSocket(): Promise<Address>;
  closeSocket(local: Address): Promise<void>;
  /** Where a server sees a socket; undefined: none answers. */
  locate(local: Address): Promise<Address | undefined>;
  /** Has the path agent send what dies before it comes to the friend's router. */
  openPort(remote: Address, local: Address): void;
  /** The socket is closed: what the agent knows of it is over. */
  socketClosed(local: Address): void;
  /** Where the socket is seen has become known: servers and the friend are to be told. */
  located(): void;
}

/** The socket and the timer behind a second way in to one session of a friend. */
export class PathReopener {
  readonly #options: PathReopenerOptions;
  #socket: Address | undefined;
  #mapped: Address | undefined;
  /** Counts sockets, so that one that opens too late is known. */
  #openings = 0;
  #direct = false;
  #used = false;
  readonly #alarm: Alarm;
  #closed = false;

  constructor(options: PathReopenerOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => this.step({ type: 'tick' }));
  }

  /** Whether a socket is its own. */
  has(local: Address): boolean {
    return this.#socket === local;
  }

  /** Where the friend finds the socket, if it is to look there. */
  get mapped(): Address | undefined {
    return this.#direct ? undefined : this.#mapped;
  }

  /** @param best the path in use. */
  pathKnown(direct: boolean, best: Path | undefined): void {
    const used = best?.local !== undefined && this.has(best.local);
    if (direct === this.#direct && used === this.#used) return;
    this.#direct = direct;
    this.#used = used;
    this.step({ type: 'path', direct, used });
  }

  step(input: ReopeningInput): void {
    if (this.#closed) return;
    const { reopening, clock } = this.#options;
    for (const effect of reopening.step(input, clock.now())) this.#carryOut(effect);
    this.#alarm.set(reopening.nextDeadline());
  }

  close(): void {
    this.#closed = true;
    this.#alarm.cancel();
    this.#closeSocket();
  }

  #carryOut(effect: ReopeningEffect): void {
    switch (effect.type) {
      case 'open-socket':
        void this.#open();
        return;
      case 'open-port':
        if (this.#socket !== undefined) this.#options.openPort(effect.remote, this.#socket);
        return;
      case 'tell':
        this.#options.located();
        return;
      case 'close-socket':
        this.#closeSocket();
    }
  }

  async #open(): Promise<void> {
    this.#closeSocket();
    const opening = this.#openings;
    let mapped: Address | undefined;
    try {
      const socket = await this.#options.openSocket();
      if (opening !== this.#openings) {
        void this.#options.closeSocket(socket);
        return;
      }
      this.#socket = socket;
      mapped = await this.#options.locate(socket);
    } catch {
      // No socket to be had: this attempt fails like one that nobody answers.
    }
    if (opening !== this.#openings) return;
    this.#mapped = mapped;
    this.step({ type: 'opened', mapped });
  }

  #closeSocket(): void {
    const socket = this.#socket;
    this.#openings++;
    this.#socket = undefined;
    this.#mapped = undefined;
    if (socket === undefined) return;
    this.#options.socketClosed(socket);
    void this.#options.closeSocket(socket);
  }
}
