import { createHmac } from 'node:crypto';
import type { Random } from '../base/random.ts';

/**
 * Names as they appear in logs: what an operator keeps must not say who talks to whom, so each is a
 * hash under a key that is made at start and forgotten with the process. Within one run the same
 * name has the same hash, so that a story can be followed.
 */
export class NameHash {
  readonly #key: Uint8Array;

  constructor(random: Random) {
    this.#key = random.bytes(32);
  }

  of(name: string): string {
    return createHmac('sha256', this.#key).update(name).digest('base64url').slice(0, 12);
  }
}
