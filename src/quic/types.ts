import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';

/**
 * What lies beneath a connection that does not talk to one plain UDP address: the path layer. The
 * endpoint hands it every outgoing datagram and asks it what an incoming one's sender is.
 */
export interface Carrier {
  /**
   * Sends one QUIC datagram over the best path of `pathClass`, or drops it. Never throws. `datagram`
   * is valid only during the call.
   */
  send(datagram: Uint8Array, pathClass: PathClass): void;
  /** The class of the checked path that `remote` is the far end of; undefined: drop the datagram. */
  classOf(remote: Address): PathClass | undefined;
}

/** What to do with an Initial that belongs to no connection yet. */
export type Admission =
  | { readonly kind: 'plain' }
  | { readonly kind: 'carried'; readonly carrier: Carrier; readonly pathClass: PathClass }
  | { readonly kind: 'drop' };

/** Why a connection ended. */
export interface CloseReason {
  readonly kind: 'local' | 'peer' | 'idle' | 'handshake' | 'transport';
  /** The application's or transport's error code; 0 for a clean end and for `idle`. */
  readonly code: number;
  /** The reason given, or a plain sentence; text from the peer is untrusted. */
  readonly reason: string;
}
