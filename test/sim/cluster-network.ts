import type { Random } from '../../src/base/random.ts';
import type { Program, Request, Response } from './cluster-program.ts';
import { MAX_RETRANSMIT_MS, type Protocol, RETRANSMIT_MS, WireEnd } from './cluster-wire.ts';
import { VirtualClock } from './virtual-clock.ts';

/** As servers give peers' connections up. */
const IDLE_MS = 40_000;

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

/** The computer behind an address, `place:port`. */
function placeOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
