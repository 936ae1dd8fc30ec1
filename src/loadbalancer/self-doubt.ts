/** With fewer servers, all of them being silent at once is too likely to be their own doing. */
const MIN_SERVERS = 3;

/**
 * Whether the balancer's own network is at fault: when every one of at least three servers goes
 * silent in one round. While it doubts itself, nobody is removed. It ends with the first answer of
 * any kind, and after `limitMs` at most; then it takes an answer before it can doubt itself again, so
 * that servers which are all really gone do go.
 */
export class SelfDoubt {
  readonly #limitMs: number;
  #asked = 0;
  #silent = 0;
  #until: number | undefined;
  #spent = false;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  get doubting(): boolean {
    return this.#until !== undefined;
  }

  /** When doubt ends if nothing is heard. */
  get deadline(): number | undefined {
    return this.#until;
  }

  /** A round begins in which `servers` are asked. */
  beginRound(servers: number): void {
    this.#asked = servers;
    this.#silent = 0;
  }

  /** One of the servers asked in this round has not answered. @returns whether doubt begins. */
  silence(now: number): boolean {
    this.#silent += 1;
    const all = this.#asked >= MIN_SERVERS && this.#silent === this.#asked;
    if (!all || this.doubting || this.#spent) return false;
    this.#until = now + this.#limitMs;
    this.#spent = true;
    return true;
  }

  /** A server was heard, whatever it said. @returns whether doubt ends. */
  heard(): boolean {
    const ends = this.doubting;
    this.#until = undefined;
    this.#spent = false;
    return ends;
  }

  /** @returns whether doubt ends because it has lasted long enough. */
  expire(now: number): boolean {
    if (this.#until === undefined || now < this.#until) return false;
    this.#until = undefined;
    return true;
  }
}
