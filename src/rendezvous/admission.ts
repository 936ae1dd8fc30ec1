import { type Address, scopeOf, sourcePrefix } from '../base/address.ts';

export interface AdmissionLimits {
  /** Peers registered at once. */
  readonly maxPeers: number;
  /** The same from one source prefix (`sourcePrefix`). */
  readonly peersPerSource: number;
  /** Registrations a minute from one source prefix; as many may come at once. */
  readonly registrationsPerMinute: number;
}

/** Why a peer is not admitted. */
export type NotAdmitted = 'full' | 'source-full' | 'too-often';

/** Ends an admission; to be called once. */
export type Release = () => void;

const MINUTE_MS = 60_000;

interface Source {
  held: number;
  /** Registrations it may make now; grows with time up to a minute's worth. (A token bucket.) */
  left: number;
  at: number;
}

/**
 * How many peers this server takes, in all and from where. What comes from loopback, where tunnels
 * end, or from no known address counts only in all.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  /** In the order of their last registration. */
  readonly #sources = new Map<string, Source>();
  #held = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Source prefixes that are remembered: those that hold a peer, or had one within a minute. */
  get sources(): number {
    return this.#sources.size;
  }

  /** Counts one peer in, unless a limit forbids it. */
  admit(address: Address | undefined, now: number): Release | NotAdmitted {
    const { maxPeers, peersPerSource } = this.#limits;
    this.#forgetOld(now);
    if (this.#held >= maxPeers) return 'full';
    const prefix =
      address === undefined || scopeOf(address.host) === 'loopback'
        ? undefined
        : sourcePrefix(address.host);
    const source = prefix === undefined ? undefined : this.#sourceAt(prefix, now);
    if (source !== undefined) {
      if (source.held >= peersPerSource) return 'source-full';
      if (source.left < 1) return 'too-often';
      source.left -= 1;
      source.held += 1;
    }
    this.#held += 1;
    return () => {
      this.#held -= 1;
      if (source !== undefined) source.held -= 1;
    };
  }

  #sourceAt(prefix: string, now: number): Source {
    const most = this.#limits.registrationsPerMinute;
    const source = this.#sources.get(prefix) ?? { held: 0, left: most, at: now };
    source.left = Math.min(most, source.left + ((now - source.at) / MINUTE_MS) * most);
    source.at = now;
    this.#sources.delete(prefix);
    this.#sources.set(prefix, source);
    return source;
  }

  /** After a quiet minute there is nothing to remember but the peers it holds. */
  #forgetOld(now: number): void {
    for (const [prefix, source] of this.#sources) {
      if (now - source.at < MINUTE_MS) return;
      this.#sources.delete(prefix);
      if (source.held === 0) continue;
      Object.assign(source, { at: now, left: this.#limits.registrationsPerMinute });
      this.#sources.set(prefix, source);
    }
  }
}
