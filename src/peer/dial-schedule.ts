import { DialPace, REDIAL_MS } from './dial-pace.ts';

/** The path layer's own three rounds of checks take 12 s; then it is asked for more. */
const FIRST_REPUNCH_MS = 13_000;
const REPUNCH_MS = 5_000;

/**
 * When to dial one of the friend's sessions, and when to look for more paths to it. At most one dial
 * is under way, and none while there is a connection.
 */
export class DialSchedule {
  readonly #pace = new DialPace();
  #pathReady = false;
  #dialling = false;
  /** Undefined before the first path. */
  #dialAt: number | undefined;
  #repunchAt: number;

  constructor(now: number) {
    this.#repunchAt = now + FIRST_REPUNCH_MS;
  }

  get pathReady(): boolean {
    return this.#pathReady;
  }

  /** @param graceMs how long the friend may dial first. */
  findPath(graceMs: number, now: number): void {
    const at = now + graceMs;
    const known = this.#pathReady ? this.#dialAt : undefined;
    this.#dialAt = known === undefined ? Math.max(this.#dialAt ?? now, at) : Math.min(known, at);
    this.#pathReady = true;
  }

  losePath(now: number): void {
    this.#pathReady = false;
    this.#repunchAt = now + REDIAL_MS;
  }

  /** There is no grace any more: we are the side that dials. */
  hurry(now: number): void {
    if (this.#dialAt !== undefined) this.#dialAt = Math.min(this.#dialAt, now);
  }

  /** The dial under way has brought a connection. */
  dialled(): void {
    this.#dialling = false;
  }

  failed(now: number): void {
    this.#dialling = false;
    this.#dialAt = now + REDIAL_MS;
  }

  /** The last connection has ended. */
  ended(
    connection: { readonly greeted: boolean; readonly since: number },
    graceMs: number,
    now: number,
  ): void {
    this.#pace.ended(connection.greeted, now - connection.since);
    this.#dialAt = now + graceMs + this.#pace.delayMs;
    if (!this.#pathReady) this.#repunchAt = now;
  }

  nextDeadline(isConnected: boolean): number | undefined {
    if (!this.#pathReady) return this.#repunchAt;
    return this.#dialling || isConnected ? undefined : this.#dialAt;
  }

  /** What it is time for. */
  due(isConnected: boolean, now: number): 'repunch' | 'dial' | undefined {
    const deadline = this.nextDeadline(isConnected);
    if (deadline === undefined || now < deadline) return undefined;
    if (!this.#pathReady) {
      this.#repunchAt = now + REPUNCH_MS;
      return 'repunch';
    }
    this.#dialling = true;
    return 'dial';
  }
}
