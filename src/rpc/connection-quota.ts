import { canonicalIp, scopeOf, sourcePrefix } from '../base/address.ts';

export interface ConnectionLimits {
  /** Connections at once. */
  readonly total: number;
  /** Connections at once from one source prefix; loopback, where proxies sit, is not counted. */
  readonly perSource: number;
}

/** How many connections there are, and from where. */
export class ConnectionQuota {
  readonly #limits: ConnectionLimits;
  readonly #bySource = new Map<string, number>();
  #total = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /**
   * Counts a connection from an IP address.
   * @returns what to call once when it has ended; undefined where it is one too many.
   */
  admit(remoteHost: string): (() => void) | undefined {
    if (this.#total >= this.#limits.total) return undefined;
    const host = canonicalIp(remoteHost);
    const source = scopeOf(host) === 'loopback' ? undefined : sourcePrefix(host);
    const held = source === undefined ? 0 : (this.#bySource.get(source) ?? 0);
    if (held >= this.#limits.perSource) return undefined;
    this.#total += 1;
    if (source !== undefined) this.#bySource.set(source, held + 1);
    return () => {
      this.#total -= 1;
      if (source === undefined) return;
      const left = (this.#bySource.get(source) ?? 1) - 1;
      if (left > 0) this.#bySource.set(source, left);
      else this.#bySource.delete(source);
    };
  }
}
