import { familyOf } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { CandidatePair, Path } from './candidate-pair.ts';

const CLASS_ORDER: Readonly<Record<PathClass, number>> = { lan: 0, public: 1, relay: 2 };
/** So much slower IPv6 may be and still come first: it has no translation that could expire. */
const IPV6_BONUS_MS = 3;
/** A path in use is left for one of its own kind only if that is faster by so much. */
const SWITCH_GAIN_MS = 5;

/** So many paths are kept alive at least, so that the loss of one needs no new punching. */
const MIN_KEPT_PATHS = 4;

/**
 * Which path to send on: one that both sides have checked before one that the friend has not
 * confirmed yet, one that has answered before one in doubt, LAN before public, then the faster
 * one. What is in use stays unless another is better by more than what measures vary. But while a
 * pair that the friend has nominated answers, it is that, so that both sides use the same.
 */
export class PathSelection {
  readonly #bestOf = new Map<PathClass, CandidatePair>();
  #best: CandidatePair | undefined;
  /** The best path, as it was at the last update. */
  path: Path | undefined;

  /** The best pair of a class, or of all; undefined: none answers. */
  best(pathClass?: PathClass): CandidatePair | undefined {
    return pathClass === undefined ? this.#best : this.#bestOf.get(pathClass);
  }

  /**
   * Chooses anew among all pairs there are, and tells each whether to keep itself alive.
   * @param nominated the one the friend wants used.
   */
  update(pairs: readonly CandidatePair[], nominated: CandidatePair | undefined, now: number): void {
    const answered = pairs.filter((pair) => pair.answered);
    for (const pathClass of ['lan', 'public'] as const) {
      const ofClass = answered.filter((pair) => pair.pathClass === pathClass);
      const best = bestPair(ofClass, this.#bestOf.get(pathClass));
      if (best === undefined) this.#bestOf.delete(pathClass);
      else this.#bestOf.set(pathClass, best);
    }
    const finalists = [...this.#bestOf.values()];
    this.#best = bestPair(finalists, this.#best);
    if (nominated?.answered === true) {
      if (!nominated.doubted || this.#best?.doubted === true) {
        this.#bestOf.set(nominated.pathClass, nominated);
        this.#best = nominated;
      }
      finalists.push(nominated);
    }
    this.path = this.#best?.path;

    answered.sort((a, b) => gradeOf(a) - gradeOf(b) || costOf(a) - costOf(b));
    const kept = new Set([...finalists, ...answered.slice(0, MIN_KEPT_PATHS)]);
    for (const pair of answered) pair.keepAlive(kept.has(pair), now);
  }
}

function bestPair(
  pairs: readonly CandidatePair[],
  current: CandidatePair | undefined,
): CandidatePair | undefined {
  const inUse = current !== undefined && pairs.includes(current) ? current : undefined;
  let best = inUse;
  for (const pair of pairs) {
    if (best === undefined || isBetter(pair, best, best === inUse)) best = pair;
  }
  return best;
}

function isBetter(pair: CandidatePair, best: CandidatePair, bestIsInUse: boolean): boolean {
  const grade = gradeOf(pair) - gradeOf(best);
  if (grade !== 0) return grade < 0;
  return costOf(pair) < costOf(best) - (bestIsInUse ? SWITCH_GAIN_MS : 0);
}

function gradeOf(pair: CandidatePair): number {
  return (pair.checked ? 0 : 8) + (pair.doubted ? 4 : 0) + CLASS_ORDER[pair.pathClass];
}

function costOf(pair: CandidatePair): number {
  return pair.rttMs - (familyOf(pair.remote) === 6 ? IPV6_BONUS_MS : 0);
}
