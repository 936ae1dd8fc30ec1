import type { Fault } from './faults.ts';

/** A life of a server, and when a balancer last handed it out. */
interface Listed {
  readonly lastSeenAt: number;
}

/** How long a server that answered no more was still handed out by a balancer that did. */
export interface Delisting {
  /** `kill`: its connections are refused; `pause`: it is silent. */
  readonly kind: 'kill' | 'pause';
  readonly ms: number;
  /** Whether nothing else was broken meanwhile. */
  readonly alone: boolean;
}

interface Fallen {
  readonly fault: Fault;
  readonly kind: Delisting['kind'];
  readonly at: number;
  readonly listed: Listed;
  /** When it was last handed out before it woke up; undefined while it sleeps, and for a dead one. */
  lastSeenAt?: number;
  upAt?: number;
}

/** A silent server is to be off every list within this (DESIGN): waking earlier says nothing. */
const SILENT_WITHIN_MS = 8_000;
/** Who was handed out so lately is taken to be on the list still: looks may take a while. */
const LATELY_MS = 1_500;

/** Until when the servers that were killed or paused were still handed out. */
export class Delistings {
  readonly #latestOf: (host: string) => Listed | undefined;
  readonly #fallen: Fallen[] = [];

  /** @param latestOf the life of this server that was handed out last. */
  constructor(latestOf: (host: string) => Listed | undefined) {
    this.#latestOf = latestOf;
  }

  begins(fault: Fault, now: number): void {
    if ((fault.kind !== 'kill' && fault.kind !== 'pause') || !fault.target.startsWith('rv')) return;
    const listed = this.#latestOf(fault.target);
    if (listed === undefined) return;
    this.#fallen.push({ fault, kind: fault.kind, at: now, listed });
  }

  ends(fault: Fault, now: number): void {
    const fallen = this.#fallen.find((each) => each.fault === fault);
    // One that was killed comes back as another.
    if (fallen?.kind !== 'pause') return;
    fallen.lastSeenAt = fallen.listed.lastSeenAt;
    fallen.upAt = now;
  }

  /** @param startedAt when the times of the faults began. */
  all(faults: readonly Fault[], startedAt: number): Delisting[] {
    return this.#fallen.flatMap(({ fault, kind, at, listed, ...woken }) => {
      const { lastSeenAt = listed.lastSeenAt, upAt = Infinity } = woken;
      const wasListed = upAt - lastSeenAt < LATELY_MS;
      if (wasListed && upAt - at < SILENT_WITHIN_MS) return [];
      const until = wasListed ? upAt : Math.max(at, lastSeenAt);
      const alone = faults.every(
        (other) => other === fault || other.at > until - startedAt || other.until < at - startedAt,
      );
      return [{ kind, ms: until - at, alone }];
    });
  }
}
