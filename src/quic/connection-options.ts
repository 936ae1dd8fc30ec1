import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { NativeConnection } from './native.ts';
import type { Carrier } from './types.ts';

/** How long a handshake may take unless the dialer says otherwise. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;

/** Who a connection is made for: the one that accepted it, or the one that dialled it. */
export interface ConnectionOwner {
  /** The handshake is done, and the peer is who it should be. */
  opened(): void;
  /** The connection is over; called once. `opened` says whether it ever was. */
  ended(opened: boolean): void;
}

/** What one connection is made of. */
export interface ConnectionOptions {
  readonly id: number;
  readonly role: 'dialer' | 'acceptor';
  readonly owner: ConnectionOwner;
  readonly native: NativeConnection;
  readonly remote: Address;
  readonly local: Address;
  /** What carries it, and the class it begins on; undefined for a plain connection. */
  readonly carrier: Carrier | undefined;
  readonly pathClass: PathClass | undefined;
  readonly verify: (certDer: Uint8Array, alpn: string) => boolean;
  readonly handshakeTimeoutMs: number;
  readonly keepAliveMs: number | undefined;
  readonly keepAliveAnswerMs: number | undefined;
  /** The further connection ID by which an acceptor is known until the handshake is done. */
  readonly firstId: string | undefined;
  /** The bytes that came from an acceptor's peer so far, if its address is not proven. */
  readonly unprovenBytes: number | undefined;
}
