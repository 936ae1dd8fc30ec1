import { familyOf } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { CandidatePair, Path } from './candidate-pair.ts';

/** Within one grade; a relay has grades of its own. */
const CLASS_ORDER: Readonly<Record<PathClass, number>> = { lan: 0, public: 1, relay: 0 };
/**
 * Grades: direct paths have 0 (checked), 4 (checked, in doubt), 12 and 16 (the friend has not said
 * that it has had an answer, so that what is sent there may be dropped), plus the class.
 */
const RELAY_CHECKED = 2;
const RELAY_ANSWERED = 20;
const RELAY_PRESUMED = 24;
const RELAY_DOUBTED = 26;
/** So much slower IPv6 may be and still come first: it has no translation that could expire. */
const IPV6_BONUS_MS = 3;
/** A path in use is left for one of its own kind only if that is faster by so much. */
const SWITCH_GAIN_MS = 5;

/** So many paths are kept alive at least, so that the loss of one needs no new punching. */
const MIN_KEPT_PATHS = 4;

/**
 * Which path to send on: one that both sides have checked before one that the friend has not
 * confirmed yet, one that has answered before one in doubt, LAN before public before relay, then the
 * faster one. What is in use stays unless another is better by more than what measures vary. But while a
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
    const usable = pairs.filter((pair) => pair.usable);
    for (const pathClass of ['lan', 'public', 'relay'] as const) {
      const ofClass = usable.filter((pair) => pair.pathClass === pathClass);
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

    usable.sort((a, b) => gradeOf(a) - gradeOf(b) || costOf(a) - costOf(b));
    const kept = new Set([...finalists, ...usable.slice(0, MIN_KEPT_PATHS)]);
    // Keeping a relay costs its server: where there is something better it is not kept.
    const needsRelay = this.#best === undefined || gradeOf(this.#best) >= RELAY_CHECKED;
    for (const pair of usable) {
      pair.keepAlive(pair.isRelay ? needsRelay : kept.has(pair), now);
    }
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
  if (!pair.isRelay) {
    return (pair.checked ? 0 : 12) + (pair.doubted ? 4 : 0) + CLASS_ORDER[pair.pathClass];
  }
  if (!pair.answered) return RELAY_PRESUMED;
  return (pair.checked ? RELAY_CHECKED : RELAY_ANSWERED) + (pair.doubted ? RELAY_DOUBTED : 0);
}

function costOf(pair: CandidatePair): number {
  return pair.rttMs - (familyOf(pair.remote) === 6 ? IPV6_BONUS_MS : 0);
}
