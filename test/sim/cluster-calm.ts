import type { Network } from './cluster-network.ts';
import type { Program } from './cluster-program.ts';

/** From a trouble's end until nothing of it is to be noticed any more. */
export const SETTLED_AFTER_MS = 15_000;

/** When something last went wrong: what is promised in calm is asked of nobody in a storm. */
export class Calm {
  readonly #network: Network;
  readonly #balancersRun: () => boolean;
  #troubledAt = -Infinity;
  /** When something last came between two places, or befell a program at one. */
  readonly #hurtAt = new Map<string, number>();

  /** @param balancersRun whether every load balancer there is to be does. */
  constructor(network: Network, balancersRun: () => boolean) {
    this.#network = network;
    this.#balancersRun = balancersRun;
  }

  /** Something happens that other things are not expected to stand. */
  trouble(): void {
    this.#troubledAt = this.#now;
  }

  /** @param where a place, or two of them in order with a space between. */
  hurt(where: string): void {
    this.#hurtAt.set(where, this.#now);
  }

  lasts(ms: number): boolean {
    return this.#quiet() && this.#now - this.#troubledAt >= ms;
  }

  since(at: number): boolean {
    return this.#quiet() && this.#troubledAt <= at;
  }

  /** Whether the two have run, and nothing has come between them, for a while. */
  between(one: Program, other: Program): boolean {
    const between = [one.place, other.place, [one.place, other.place].sort().join(' ')];
    return (
      this.#network.reachable(one.place, other.place) &&
      [one, other].every(({ alive, paused, startedAt }) => {
        return alive && !paused && this.#now - startedAt >= SETTLED_AFTER_MS;
      }) &&
      between.every((hurt) => this.#now - (this.#hurtAt.get(hurt) ?? -Infinity) >= SETTLED_AFTER_MS)
    );
  }

  get #now(): number {
    return this.#network.clock.now();
  }

  #quiet(): boolean {
    if (!this.#network.whole) return false;
    for (const { paused } of this.#network.programs) if (paused) return false;
    return this.#balancersRun();
  }
}
