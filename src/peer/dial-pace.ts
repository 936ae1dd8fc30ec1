/** How long the side that was waiting lets the other dial first, from the first checked path. */
const GRACE_MS = { lowerFingerprint: 150, higherFingerprint: 300 } as const;
/** … and so much longer from a relay that nothing has come back on: some round trips. */
const PRESUMED_GRACE_MS = 600;
/** Delay before another dial after one that failed. */
export const REDIAL_MS = 500;
/** Connections that keep ending soon are dialled anew with growing delays, up to this. */
const MAX_REDIAL_MS = 8_000;
/** A connection that stood for this long did not end soon. */
const STEADY_MS = 5_000;

/** How long the friend may dial first. */
export function graceMs(side: {
  readonly weAreLower: boolean;
  /** The two sessions were connected before. */
  readonly wasConnected: boolean;
  readonly friendWasWaiting: boolean;
  /** There is only a relay that nothing has come back on. */
  readonly presumed: boolean;
}): number {
  // After a loss both sides know of it at about the same time: the lower redials at once.
  if (side.wasConnected) return side.weAreLower ? 0 : GRACE_MS.higherFingerprint;
  if (side.friendWasWaiting) return 0;
  // A relay is there before the friend is.
  const presumedMs = side.presumed ? PRESUMED_GRACE_MS : 0;
  return presumedMs + (side.weAreLower ? GRACE_MS.lowerFingerprint : GRACE_MS.higherFingerprint);
}

/** How fast to dial anew when connections keep ending. */
export class DialPace {
  /** Connections in a row that ended soon. */
  #shortLived = 0;

  /** The last connection has ended after `stoodMs`. */
  ended(greeted: boolean, stoodMs: number): void {
    this.#shortLived = greeted && stoodMs >= STEADY_MS ? 0 : this.#shortLived + 1;
  }

  /** What to wait beside the grace. The first that ends soon is dialled anew at once, like any. */
  get delayMs(): number {
    if (this.#shortLived < 2) return 0;
    return Math.min(REDIAL_MS * 2 ** Math.min(this.#shortLived - 2, 10), MAX_REDIAL_MS);
  }
}
