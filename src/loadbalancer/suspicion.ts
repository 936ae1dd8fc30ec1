import type { Random } from '../base/random.ts';
import type { Member } from './member.ts';

/**
 * So many other servers are asked at once: one of them may be down too, unnoticed so far, and a
 * balancer that waited for it would keep the suspect on its list for too long. (SWIM, Das, Gupta and
 * Motivala 2002, §3.1, asks k; with one in ten servers down, two leave 1 % of suspects waiting.)
 */
const PROBERS = 2;

/**
 * A listed server that missed a check, while it gets its second chance: it is checked again, and
 * other servers are asked to check it too. It is removed once the check has failed and one of them
 * says that theirs did, and stays if either finds it well before that. A prober that cannot be asked
 * is replaced by another as long as there is time; where none is left, nobody has a say.
 */
export class Suspicion {
  readonly member: Member;
  /** Why the last check failed, for people. */
  reason: string;
  readonly #newProbersUntil: number;
  readonly #tried = new Set<string>();
  /** Probers that have not answered yet. */
  #asked = 0;
  #recheckFailed = false;
  #probeFailed = false;

  constructor(member: Member, reason: string, newProbersUntil: number) {
    this.member = member;
    this.reason = reason;
    this.#newProbersUntil = newProbersUntil;
  }

  /** Whom to ask now, beside those who are still to answer. */
  askMore(healthy: readonly Member[], now: number, random: Random): readonly Member[] {
    if (this.#probeFailed) return [];
    const choice = healthy.filter(({ id }) => id !== this.member.id && !this.#tried.has(id));
    const probers: Member[] = [];
    while (now < this.#newProbersUntil && this.#asked < PROBERS && choice.length > 0) {
      const [prober] = choice.splice(random.below(choice.length), 1);
      if (prober === undefined) break;
      this.#tried.add(prober.id);
      this.#asked += 1;
      probers.push(prober);
    }
    if (this.#asked === 0) this.#probeFailed = true;
    return probers;
  }

  /** What one of them found, or that it could not be asked. */
  probed(found: 'unhealthy' | 'no-answer'): void {
    this.#asked -= 1;
    if (found === 'unhealthy') this.#probeFailed = true;
  }

  recheckFailed(reason: string): void {
    this.#recheckFailed = true;
    this.reason = reason;
  }

  /** Whether the member has had its chances and failed. */
  get confirmed(): boolean {
    return this.#recheckFailed && this.#probeFailed;
  }
}
