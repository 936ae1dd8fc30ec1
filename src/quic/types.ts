import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { QuicStream } from './stream.ts';

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
  /**
   * The class of the checked path between `local` and `remote`; undefined: drop the datagram.
   * @param local the address of our socket that it came to, as the endpoint knows it.
   */
  classOf(remote: Address, local: Address): PathClass | undefined;
  /** What has taken its place, for good: connections are that one's from then on. */
  readonly successor?: Carrier | undefined;
  /** What connections accepted over it count under, like a source prefix; default: all alike. */
  readonly sourcePrefix?: string;
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

/** One QUIC connection whose handshake is done and whose peer has proven its key. */
export interface QuicConnection {
  /** Unique within the endpoint. */
  readonly id: number;
  readonly role: 'dialer' | 'acceptor';
  /** The protocol agreed on. */
  readonly alpn: string;
  /** DER of the peer's leaf certificate. */
  readonly peerCertificate: Uint8Array;
  /** SHA-256 of the SubjectPublicKeyInfo in it, 32 bytes. */
  readonly peerFingerprint: Uint8Array;
  /** Where the peer was last validated to be; a synthetic address for a carried connection. */
  readonly remote: Address;
  readonly local: Address;
  /** What lies beneath; undefined for a plain connection. */
  readonly carrier: Carrier | undefined;
  /** The class of path in use; undefined for a plain connection. */
  readonly pathClass: PathClass | undefined;
  /** The smoothed round-trip time of the path in use, in whole milliseconds, rounded down. */
  readonly rttMs: number;
  /**
   * Opens a bidirectional stream; the peer hears of it with its first bytes or its end.
   * @throws ChattyError CHATTY_OVERLOADED when the peer allows no more streams, CHATTY_TRANSPORT
   * when the connection is closed.
   */
  openStream(): QuicStream;
  /** Called with each stream the peer opens; until it is set, they wait. */
  onStream: ((stream: QuicStream) => void) | undefined;
  /** The dialer of a carried connection moves it to paths of `pathClass`; others ignore it. */
  selectPath(pathClass: PathClass): void;
  /**
   * Asks the peer for a sign of life at once: where the network has changed it sees so, and what was
   * lost is sent again when the answer comes.
   */
  ping(): void;
  /** Whether nothing has come from the peer since it was last asked for a sign of life. */
  readonly isAwaited: boolean;
  readonly closed: Promise<CloseReason>;
  /** Ends the connection at once, with what is still queued. Never waits, never throws. */
  close(code?: number, reason?: string): void;
}
