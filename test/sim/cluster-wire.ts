import type { Timer } from '../../src/base/clock.ts';
import type { Program } from './cluster-program.ts';

/** tcp: a computer whose program is gone says so. quic: nobody does. */
export type Protocol = 'tcp' | 'quic';

/** RFC 6298: a packet without answer is sent again after this, and then after twice that. */
export const RETRANSMIT_MS = 200;
export const MAX_RETRANSMIT_MS = 1_600;
/** As peers keep their connections alive. */
const KEEP_ALIVE_MS = 15_000;
const KEEP_ALIVE_ANSWER_MS = 3_000;

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
  /** When it was last asked for a sign of life. */
  #askedAt = -Infinity;
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
    this.#timer = this.program.setTimer(KEEP_ALIVE_MS, () => this.ping());
  }

  /** Asks the other side for a sign of life, unless one is waited for. */
  ping(): void {
    if (!this.#open || this.#askedAt > this.#heardAt) return;
    this.#timer?.cancel();
    this.#askedAt = this.program.now();
    this.#put('ping');
    this.#timer = this.program.setTimer(KEEP_ALIVE_ANSWER_MS, () => {
      if (this.#heardAt >= this.#askedAt) this.keepAlive();
      else this.#fail('a keep-alive was not answered');
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
