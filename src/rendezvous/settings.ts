import type { QuicLimits } from '../quic/index.ts';
import type { RelayLimits } from './relay-budget.ts';

/** A rendezvous server's limits. */
export interface RendezvousSettings {
  /** Peers registered here at once (default 50,000). */
  readonly maxPeers: number;
  /** The same from one source prefix (default 4,000: a large shared NAT). */
  readonly peersPerSource: number;
  /**
   * Registrations a minute from one source prefix (default 12,000: each of the peers it may have
   * three times, so that a carrier's NAT whose peers all lose their servers at once is served).
   */
  readonly registrationsPerMinute: number;
  /** Names one key may wait under here (default 64: a program needs one for each of its people). */
  readonly namesPerKey: number;
  /** Records of the peer table, which holds all servers' peers (default 1,000,000: 1.8 GB). */
  readonly maxRecords: number;
  /** What is relayed for peers who cannot reach each other; undefined: nothing. */
  readonly relay: RelayLimits | undefined;
  /** How long peers have to move elsewhere before a draining server stops (default 10,000). */
  readonly drainMs: number;
  readonly quic: Partial<QuicLimits>;
}

/** A conversation with files on the way; many of them on one server with a network of 1 Gbit/s. */
const DEFAULT_RELAY_LIMITS: RelayLimits = {
  pairBytesPerSecond: 2 ** 20,
  pairBytes: 2 ** 30,
  pairTimeMs: 4 * 3_600_000,
  bytesPerSecond: 64 * 2 ** 20,
  pairs: 20_000,
};

export const DEFAULT_SETTINGS: RendezvousSettings = {
  maxPeers: 50_000,
  peersPerSource: 4_000,
  registrationsPerMinute: 12_000,
  namesPerKey: 64,
  maxRecords: 1_000_000,
  relay: DEFAULT_RELAY_LIMITS,
  drainMs: 10_000,
  quic: {},
};
