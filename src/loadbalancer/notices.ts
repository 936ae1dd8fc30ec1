import { setNewest } from '../base/newest.ts';
import type { Random } from '../base/random.ts';
import type { Fact, RegistryEffect } from './events.ts';
import type { Member } from './member.ts';

/** So many servers in turn are asked to pass one fact on; replication tells the rest in the end. */
const MAX_ATTEMPTS = 5;
/** So many facts are under way at once; the oldest gives way. */
const MAX_UNDER_WAY = 1_000;

interface Notice {
  readonly fact: Fact;
  readonly tried: Set<string>;
}

/**
 * Arrivals and removals on their way to the servers: each is told to one healthy server picked at
 * random, which tells the rest; where it cannot be told, to another.
 */
export class Notices {
  readonly #random: Random;
  readonly #deadlineMs: number;
  readonly #underWay = new Map<number, Notice>();
  #lastNumber = 0;

  constructor(random: Random, deadlineMs: number) {
    this.#random = random;
    this.#deadlineMs = deadlineMs;
  }

  /** @param healthy whom to choose from; the member the fact is about is never chosen. */
  tell(fact: Fact, healthy: readonly Member[]): RegistryEffect[] {
    return this.#send({ fact, tried: new Set([fact.member.id]) }, healthy);
  }

  /** What became of an attempt. */
  result(number: number, delivered: boolean, healthy: readonly Member[]): RegistryEffect[] {
    const notice = this.#underWay.get(number);
    this.#underWay.delete(number);
    if (notice === undefined || delivered || notice.tried.size > MAX_ATTEMPTS) return [];
    return this.#send(notice, healthy);
  }

  #send(notice: Notice, healthy: readonly Member[]): RegistryEffect[] {
    const choice = healthy.filter((member) => !notice.tried.has(member.id));
    const to = choice[choice.length === 0 ? 0 : this.#random.below(choice.length)];
    if (to === undefined) return [];
    notice.tried.add(to.id);
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    setNewest(this.#underWay, number, notice, MAX_UNDER_WAY);
    const deadlineMs = this.#deadlineMs;
    return [{ kind: 'notify', notice: number, to, fact: notice.fact, deadlineMs }];
  }
}
