import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemClock as clock } from '../../src/base/clock.ts';
import type { Random } from '../../src/base/random.ts';
import { type FromCrowd, monotonicMs, type ToCrowd, type Toll } from './crowd-messages.ts';
import { PEERS } from './faults.ts';
import type { Network } from './network.ts';

/** The second of a pair comes so much later; every fifth time much later. */
const SOON_MS = 1_000;
const LATE_MS = 12_000;
/**
 * Nobody else arrives while somebody who was told to is not there after so long: the processes of the
 * crowd lack CPU, and more people in them would find nothing out about Chatty.
 */
const TOO_LATE_MS = 1_000;
const LOOK_EVERY_MS = 100;
/** So long two stay when they have met. */
const STAY_MS = 3_000;

/** How it went for one pair; instants on the shared clock. */
export class Pair {
  /** When both had begun to wait for each other. */
  wishedAt = 0;
  /** When each of the two was first told of the other, and had a connection to it. */
  readonly matchedAt = new Map<string, number>();
  readonly connectedAt = new Map<string, number>();
  met = 0;
  trouble: string | undefined;
  /** When the second of the two was told to arrive. */
  arrivedAt = Infinity;

  get hasMet(): boolean {
    return this.met === 2;
  }
}

/** Pairs that keep arriving, one of each pair on either of the peers' two computers. */
export class Crowd {
  readonly pairs: Pair[] = [];
  /** What a process of the crowd ended of, if one did. */
  readonly mishaps: string[] = [];
  readonly #options: CrowdOptions;
  readonly #processes: ChildProcess[];
  /** Of each process, once all have left. */
  readonly tolls: Toll[] = [];
  /** How long arrivals were held back. */
  heldBackMs = 0;
  /** Who was told to arrive and has not, and when. */
  readonly #awaited = new Map<string, number>();
  readonly #wakers: (() => void)[] = [];
  readonly #whereabouts = new Map<string, { readonly pair: Pair; readonly place: number }>();
  #leaving = false;
  #alone = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#processes = PEERS.map((host) => this.#start(host));
  }

  /** Waits until the processes run. */
  async here(): Promise<void> {
    await this.#told(this.#processes.length);
  }

  /** People who wait for somebody who never comes: what is in the tables when nobody else is. */
  addWaiting(count: number): void {
    for (; count > 0; count--) {
      const name = `alone-${this.#alone++}`;
      this.#arrive(this.#alone % PEERS.length, name, `friend of ${name}`);
    }
  }

  /** @param signal when it aborts, nobody else arrives; both of a pair do, or none. */
  async keepArriving(pairsPerSecond: number, random: Random, signal: AbortSignal): Promise<void> {
    let due = monotonicMs();
    const seconds: Promise<void>[] = [];
    while (!signal.aborted) {
      seconds.push(this.#pair(random));
      due += 1_000 / pairsPerSecond;
      await clock.sleep(due - monotonicMs(), signal).catch(() => undefined);
      const heldMs = await this.#untilOnTime(signal);
      if (heldMs > 0) due = monotonicMs();
      this.heldBackMs += heldMs;
    }
    await Promise.all(seconds);
  }

  /** @returns how long that took. */
  async #untilOnTime(signal: AbortSignal): Promise<number> {
    let heldMs = 0;
    while (!signal.aborted && this.#isLate) {
      const from = monotonicMs();
      await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
      heldMs += monotonicMs() - from;
    }
    return heldMs;
  }

  get #isLate(): boolean {
    // In the order in which they were told.
    const [since] = this.#awaited.values();
    return since !== undefined && monotonicMs() - since > TOO_LATE_MS;
  }

  async leave(): Promise<void> {
    this.#leaving = true;
    const left = this.#told(this.#processes.length);
    for (const child of this.#processes) child.send({ type: 'leave-all' } satisfies ToCrowd);
    await left;
  }

  end(): void {
    this.#leaving = true;
    for (const child of this.#processes) child.kill('SIGKILL');
  }

  async #pair(random: Random): Promise<void> {
    const pair = new Pair();
    const number = this.pairs.push(pair);
    const [one, other] = [`early-${number}`, `late-${number}`];
    const first = random.below(PEERS.length);
    const gap = random.below(random.below(5) === 0 ? LATE_MS : SOON_MS);
    this.#whereabouts.set(one, { pair, place: first });
    this.#whereabouts.set(other, { pair, place: 1 - first });
    this.#arrive(first, one, other);
    await clock.sleep(gap);
    pair.arrivedAt = monotonicMs();
    this.#arrive(1 - first, other, one);
  }

  #arrive(place: number, name: string, friend: string): void {
    const { network, loadBalancers, caPem } = this.#options;
    const host = network.addressOf(PEERS[place] ?? '');
    this.#awaited.set(name, monotonicMs());
    this.#tell(place, { type: 'arrive', name, friend, loadBalancers, caPem, host });
  }

  #tell(place: number, message: ToCrowd): void {
    const child = this.#processes[place];
    if (child?.connected === true) child.send(message);
  }

  #start(host: string): ChildProcess {
    const [execPath, ...args] = this.#options.network.on(host);
    const script = fileURLToPath(new URL('crowd-process.ts', import.meta.url));
    const execArgv = [...args, process.execPath, '--import', 'tsx'];
    const child = fork(script, [], { execPath, execArgv });
    child.on('message', (message: FromCrowd) => this.#hear(message));
    child.once('exit', (code, signal) => {
      if (!this.#leaving) this.mishaps.push(`the crowd of ${host} ended: ${code ?? signal ?? '?'}`);
    });
    return child;
  }

  #hear(message: FromCrowd): void {
    if (message.type === 'here' || message.type === 'all-left') {
      if (message.type === 'all-left') this.tolls.push(message.toll);
      this.#wakers.shift()?.();
      return;
    }
    this.#awaited.delete(message.name);
    if (message.type === 'opened') return;
    const pair = this.#whereabouts.get(message.name)?.pair;
    if (pair === undefined) {
      if (message.type === 'failed') this.mishaps.push(`${message.name}: ${message.why}`);
      return;
    }
    const { name } = message;
    if (message.type === 'matched') {
      pair.wishedAt = Math.max(pair.wishedAt, message.wishedAt);
      if (!pair.matchedAt.has(name)) pair.matchedAt.set(name, message.at);
    } else if (message.type === 'connected') {
      if (!pair.connectedAt.has(name)) pair.connectedAt.set(name, message.at);
    } else if (message.type === 'failed') pair.trouble = `${name}: ${message.why}`;
    else if (message.type === 'unmet') pair.trouble ??= `unmet: ${message.how}`;
    else if (++pair.met === 2) void this.#parting(name);
  }

  /** Both of a pair leave, a while after they have met. */
  async #parting(name: string): Promise<void> {
    await clock.sleep(STAY_MS);
    const { pair } = this.#whereabouts.get(name) ?? {};
    for (const [each, { pair: theirs, place }] of this.#whereabouts) {
      if (theirs !== pair) continue;
      this.#whereabouts.delete(each);
      this.#tell(place, { type: 'leave', name: each });
    }
  }

  /** Waits for so many processes to answer. */
  async #told(count: number): Promise<void> {
    await Promise.all(
      Array.from(
        { length: count },
        () => new Promise<void>((resolve) => this.#wakers.push(resolve)),
      ),
    );
  }
}

interface CrowdOptions {
  readonly network: Network;
  readonly loadBalancers: readonly string[];
  readonly caPem: string;
}
