import { formatAddress, parseHostPort } from '../base/address.ts';

/** More load balancers than this are not passed on. */
const MAX_BALANCERS = 32;
/** A balancer that no server has named for this long is forgotten: a dozen heartbeats. */
const FORGET_MS = 60_000;

/** The load balancers' peer addresses, as the servers tell them; this balancer's own among them. */
export class KnownBalancers {
  readonly #heardAt = new Map<string, number>();

  /** Takes what a server knows; text that is no `HOST:PORT` is left out. */
  learn(addresses: readonly string[], now: number): void {
    for (const text of addresses.slice(0, MAX_BALANCERS)) {
      const address = parseHostPort(text);
      if (address === undefined || address.port === 0) continue;
      const spelling = formatAddress(address);
      if (this.#heardAt.size >= MAX_BALANCERS && !this.#heardAt.has(spelling)) continue;
      this.#heardAt.set(spelling, now);
    }
  }

  /** Those heard of lately. */
  list(now: number): string[] {
    for (const [address, heardAt] of this.#heardAt) {
      if (now - heardAt >= FORGET_MS) this.#heardAt.delete(address);
    }
    return [...this.#heardAt.keys()];
  }
}
