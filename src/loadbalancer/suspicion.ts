import type { Member } from './member.ts';

/**
 * A listed server that missed a check, while it gets its second chance: it is checked again, and another server is asked to check it too. Only both failing removes it. A prober
 * that cannot be asked is replaced by another as long as there is time; then it has no say.
 */
export class Suspicion {
  readonly member: Member;
  /** Why the last check failed, for people. */
  reason: string;
  readonly #newProberUntil: number;
  readonly #tried = new Set<string>();
  #recheckFailed = false;
  #probeFailed = false;

  constructor(member: Member, reason: string, newProberUntil: number) {
    this.member = member;
    this.reason = reason;
    this.#newProberUntil = newProberUntil;
  }

  /** Whom to choose a prober from: none where no other can be asked, or the time for it is over. */
  proberChoice(healthy: readonly Member[], now: number): readonly Member[] {
    if (now >= this.#newProberUntil) return [];
    return healthy.filter(({ id }) => id !== this.member.id && !this.#tried.has(id));
  }

  probedBy(prober: Member): void {
    this.#tried.add(prober.id);
  }

  probeFailed(): void {
    this.#probeFailed = true;
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
