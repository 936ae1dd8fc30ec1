import { type Address, formatAddress } from '../base/address.ts';
import { ChattyError } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Connection } from './connection.ts';
import { type ConnectionOwner, HANDSHAKE_TIMEOUT_MS } from './connection-options.ts';
import type { ConnectionTable } from './connection-table.ts';
import { OUR_ID_BYTES } from './datagram.ts';
import type { EndpointCounters } from './endpoint-stats.ts';
import type { NativeConfigs } from './native-configs.ts';
import { addressOfClass, CARRIED_LOCAL } from './synthetic-address.ts';
import type { Carrier, QuicConnection } from './types.ts';
import type { UdpSockets } from './udp-sockets.ts';

export interface DialOptions {
  /** Where to; for a plain connection. */
  readonly remote?: Address;
  /** What carries the connection, and the class it begins on (default `public`). */
  readonly carrier?: Carrier;
  readonly pathClass?: PathClass;
  readonly alpn: string;
  readonly serverName?: string;
  verify(certDer: Uint8Array): boolean;
  /** Default 5,000. */
  readonly handshakeTimeoutMs?: number;
  /** Something is sent whenever nothing was for this long; default: never. */
  readonly keepAliveMs?: number;
  /** A peer that is silent for this long after it is dead; default: by the idle timeout. */
  readonly keepAliveAnswerMs?: number;
  readonly signal?: AbortSignal;
}

/** What an endpoint dials with. */
interface DialerParts {
  readonly sockets: UdpSockets;
  readonly connections: ConnectionTable;
  readonly configs: NativeConfigs;
  readonly counters: EndpointCounters;
}

/** Makes the connections that we open. */
export class Dialer {
  readonly #parts: DialerParts;

  constructor(parts: DialerParts) {
    this.#parts = parts;
  }

  /** As `QuicEndpoint.dial`. */
  dial(options: DialOptions): Promise<QuicConnection> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      signal?.throwIfAborted();
      const connection = this.#connect(options, {
        opened: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve(connection);
        },
        ended: (opened) => {
          if (opened) return;
          signal?.removeEventListener('abort', onAbort);
          void connection.closed.then(({ reason, kind, code }) => {
            reject(connection.refusal ?? dialError(options, reason || `${kind}, code ${code}`));
          });
        },
      });
      const onAbort = (): void => {
        // First, so that this and not the end of the connection is the reason.
        reject(signal?.reason as Error);
        connection.close();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#parts.connections.markDirty(connection);
    });
  }

  #connect(options: DialOptions, owner: ConnectionOwner): Connection {
    const { sockets, connections, configs, counters } = this.#parts;
    const { carrier, alpn, serverName } = options;
    const pathClass = carrier === undefined ? undefined : (options.pathClass ?? 'public');
    const remote = pathClass === undefined ? options.remote : addressOfClass(pathClass);
    if (connections.closed) throw dialError(options, 'the endpoint is closed');
    if (remote === undefined) throw dialError(options, 'no address was given');
    const local = carrier === undefined ? sockets.localFor(remote) : CARRIED_LOCAL;
    if (local === undefined || remote.port < 1) {
      throw dialError(options, 'it cannot be reached from any of our sockets');
    }
    let native;
    try {
      native = connections.quiche.Connection.connect(
        serverName,
        connections.random.bytes(OUR_ID_BYTES),
        local,
        remote,
        configs.get([alpn], carrier !== undefined),
      );
    } catch (cause) {
      throw dialError(options, 'quiche refused it', cause);
    }
    counters.dialled += 1;
    return connections.add({
      role: 'dialer',
      owner,
      native,
      remote,
      local,
      carrier,
      pathClass,
      verify: (certDer) => options.verify(certDer),
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
      keepAliveMs: options.keepAliveMs,
      keepAliveAnswerMs: options.keepAliveAnswerMs,
      firstId: undefined,
      unprovenBytes: undefined,
    });
  }
}

function dialError(
  target: Pick<DialOptions, 'remote'>,
  reason: string,
  cause?: unknown,
): ChattyError {
  const to = target.remote === undefined ? 'the peer' : formatAddress(target.remote);
  return new ChattyError('CHATTY_TRANSPORT', `could not connect to ${to}: ${reason}`, {
    cause,
    hint: 'Check that it is running and that UDP reaches it.',
  });
}
