import { type Address, familyOf, formatAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { QuicConnection, QuicEndpoint } from '../quic/index.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { RENDEZVOUS_ALPN } from '../rpc/protocol.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import { Tunnel } from './tunnel.ts';

/** How long a handshake may take, and the answer to a keep-alive. */
const ANSWER_MS = 3_000;
/** Servers drop a connection that is silent for longer than 40 s; home routers forget at 20–30 s. */
const KEEP_ALIVE_MS = 15_000;
/** The wait before the next of a server's addresses is tried beside the ones before. */
const NEXT_ADDRESS_MS = 250;
/**
 * How long UDP has for itself before the tunnel is tried beside it: more than most round trips, and
 * less than people notice. Where it is not, the tunnel is only a spare.
 */
const TUNNEL_AFTER_MS = 500;
/** Of one server, so many addresses are tried. */
const MAX_ADDRESSES = 8;

export interface ServerDialOptions {
  readonly endpoint: QuicEndpoint;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** No tunnel is tried. */
  readonly udpOnly: boolean;
  /** Takes what came by the tunnel that was made. */
  readonly received: (datagram: Uint8Array, tunnel: Tunnel) => void;
}

/** A connection to a server, and how it got there. */
export interface ServerLine {
  readonly connection: QuicConnection;
  readonly remote: Address;
  /** Undefined: UDP. */
  readonly tunnel: Tunnel | undefined;
}

/**
 * Tries the server's addresses one after the other, without waiting for the ones before to fail,
 * and then its tunnels: the first handshake wins.
 * @throws ChattyError CHATTY_TRANSPORT with every address's reason, or the signal's reason.
 */
export async function dialServer(server: Server, options: ServerDialOptions): Promise<ServerLine> {
  const { endpoint, clock, udpOnly } = options;
  const families = new Set(endpoint.addresses.map(familyOf));
  const usable = addressesFromWire(server.addresses, MAX_ADDRESSES).filter((address) =>
    families.has(familyOf(address)),
  );
  if (usable.length === 0) {
    throw new ChattyError('CHATTY_TRANSPORT', 'the server has no address this computer can use');
  }
  const won = new AbortController();
  const signal = AbortSignal.any([options.signal, won.signal]);
  const attempt = async (remote: Address, atMs: number, byTunnel: boolean): Promise<ServerLine> => {
    try {
      await clock.sleep(atMs, signal);
      const line = byTunnel
        ? await dialByTunnel(server, remote, options, signal)
        : {
            connection: await dial(server, { remote }, options, signal),
            remote,
            tunnel: undefined,
          };
      if (signal.aborted) {
        line.connection.close();
        line.tunnel?.close();
        signal.throwIfAborted();
      }
      won.abort(new ChattyError('CHATTY_TRANSPORT', 'another address answered first'));
      return line;
    } catch (error) {
      const place = `${byTunnel ? 'tcp ' : ''}${formatAddress(remote)}`;
      throw new ChattyError('CHATTY_TRANSPORT', `${place}: ${reasonOf(error)}`, { cause: error });
    }
  };
  try {
    return await Promise.any([
      ...usable.map((remote, index) => attempt(remote, index * NEXT_ADDRESS_MS, false)),
      ...(udpOnly ? [] : usable).map((remote, index) =>
        attempt(remote, TUNNEL_AFTER_MS + index * NEXT_ADDRESS_MS, true),
      ),
    ]);
  } catch (error) {
    options.signal.throwIfAborted();
    const reasons =
      error instanceof AggregateError ? error.errors.map(reasonOf) : [reasonOf(error)];
    throw new ChattyError('CHATTY_TRANSPORT', reasons.join('; '), { cause: error });
  }
}

async function dialByTunnel(
  server: Server,
  remote: Address,
  options: ServerDialOptions,
  signal: AbortSignal,
): Promise<ServerLine> {
  const tunnel = new Tunnel({
    remote,
    certificate: server.certificate,
    received: options.received,
  });
  const over = new AbortController();
  void tunnel.closed.then((reason) => over.abort(new ChattyError('CHATTY_TRANSPORT', reason)));
  try {
    const either = AbortSignal.any([signal, over.signal]);
    const to = { carrier: tunnel, pathClass: 'relay' } as const;
    const connection = await dial(server, to, options, either);
    void connection.closed.then(() => tunnel.close());
    return { connection, remote, tunnel };
  } catch (error) {
    tunnel.close();
    throw error;
  }
}

function dial(
  server: Server,
  to: { readonly remote: Address } | { readonly carrier: Tunnel; readonly pathClass: 'relay' },
  { endpoint }: ServerDialOptions,
  signal: AbortSignal,
): Promise<QuicConnection> {
  return endpoint.dial({
    ...to,
    alpn: RENDEZVOUS_ALPN,
    verify: (der) => Buffer.compare(der, server.certificate) === 0,
    handshakeTimeoutMs: ANSWER_MS,
    keepAliveMs: KEEP_ALIVE_MS,
    keepAliveAnswerMs: ANSWER_MS,
    signal,
  });
}
