import type { PeerRecord } from './record.ts';

/** The registrations of one of two friends, each with a wish for the other. */
export interface Registered {
  readonly records: readonly PeerRecord[];
  /** The name they wish for. */
  readonly friend: string;
}

/**
 * The servers that relay between two friends, best first, by their ids: the first one of whoever came
 * second, where that peer's registration is alive this very moment, so that an answer to its first
 * words needs no detour; then the first one of whoever waited. None where either refuses relays. All
 * servers that hold the same records choose alike.
 */
export function chooseRelays(
  cameSecond: Registered,
  waited: Registered,
  canRelay: (server: string) => boolean,
): readonly string[] {
  const all = [...cameSecond.records, ...waited.records];
  if (all.some(({ endpoint }) => endpoint.relayRefused)) return [];
  const chosen = [cameSecond, waited].flatMap((side) => firstServer(side, canRelay) ?? []);
  return [...new Set(chosen)];
}

function firstServer(
  { records, friend }: Registered,
  canRelay: (server: string) => boolean,
): string | undefined {
  let first: { readonly owner: string; readonly since: number } | undefined;
  for (const { owner, wishes } of records) {
    const since = wishes.get(friend)?.since;
    if (since === undefined || !canRelay(owner)) continue;
    const earlier = first === undefined || since < first.since;
    if (earlier || (since === first?.since && owner < first.owner)) first = { owner, since };
  }
  return first?.owner;
}
