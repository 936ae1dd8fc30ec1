import { setNewest } from '../base/newest.ts';

/** Towards so many sessions of the friend's, numbers are kept: of those tried at once there are two. */
const MAX_NUMBERS = 8;

/**
 * The numbers of our conversations in one session of ours, by session of the friend's: the higher is
 * the newer. One that is left for another and returned to is numbered anew, for what was said there
 * has gone on without it.
 */
export class ConversationNumbers {
  #last: bigint;
  /** By session of the friend's that was greeted and is not the present one, our number there. */
  readonly #waiting = new Map<string, bigint>();
  /** By session of the friend's, the number that was told there last. */
  readonly #told = new Map<string, bigint>();
  #present: { readonly session: string; readonly number: bigint } | undefined;

  /** @param last the highest so far. */
  constructor(last: bigint) {
    this.#last = last;
  }

  /** The highest so far. */
  get last(): bigint {
    return this.#last;
  }

  /** The present conversation's; undefined before the first. */
  get present(): bigint | undefined {
    return this.#present?.number;
  }

  /** Whether the present conversation is with this session of the friend's. */
  isPresent(session: string): boolean {
    return this.#present?.session === session;
  }

  /** What is told to a session in greeting. */
  tell(session: string): bigint {
    const number = this.#towards(session);
    setNewest(this.#told, session, number, MAX_NUMBERS);
    return number;
  }

  /**
   * The present conversation is with this session from now on.
   * @returns false where it was told another number in greeting: then nothing has changed.
   */
  enter(session: string): boolean {
    const number = this.#towards(session);
    if ((this.#told.get(session) ?? number) !== number) return false;
    this.#waiting.delete(session);
    this.#present = { session, number };
    return true;
  }

  #towards(session: string): bigint {
    if (this.#present?.session === session) return this.#present.number;
    const number = this.#waiting.get(session) ?? ++this.#last;
    setNewest(this.#waiting, session, number, MAX_NUMBERS);
    return number;
  }
}
