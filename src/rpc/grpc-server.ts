import { lookup } from 'node:dns/promises';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerOptions,
  status,
} from '@grpc/grpc-js';
import { type Address, canonicalIp, formatAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { callerRole, type Role } from './role.ts';
import type { ClusterTls } from './tls-files.ts';

export interface GrpcServerSettings {
  /** Where to listen; a host may be a name (its first address counts) or a wildcard. Port 0: any. */
  readonly listen: readonly Address[];
  readonly tls: ClusterTls;
  /**
   * Who may call. `anyone`: no client certificate is asked for. Otherwise mutual TLS: callers prove
   * by a certificate under the cluster's CA that they have one of these roles.
   */
  readonly callers: 'anyone' | readonly Role[];
  /** The largest request, in bytes. */
  readonly maxRequestBytes: number;
  /** Adds the services, before the first caller can connect. */
  readonly addServices: (server: Server) => void;
}

/** A gRPC server over TLS on one or several addresses. */
export class GrpcServer {
  /** The addresses it listens on, with the ports it really got, in the order asked for. */
  readonly addresses: readonly Address[];
  readonly #server: Server;

  private constructor(server: Server, addresses: readonly Address[]) {
    this.#server = server;
    this.addresses = addresses;
  }

  /**
   * Resolves once every address is listened on.
   * @throws ChattyError CHATTY_PORT_IN_USE or CHATTY_CONFIG, which name the address; nothing is left
   * listening then.
   */
  static async listen(settings: GrpcServerSettings): Promise<GrpcServer> {
    const server = new Server(serverOptions(settings));
    settings.addServices(server);
    const credentials = serverCredentials(settings.tls, { mutual: settings.callers !== 'anyone' });
    try {
      const addresses: Address[] = [];
      for (const wanted of settings.listen) {
        addresses.push(await bind(server, wanted, credentials));
      }
      return new GrpcServer(server, addresses);
    } catch (error) {
      server.forceShutdown();
      throw error;
    }
  }

  /**
   * Takes no new calls, waits for those that run, at most `deadlineMs`, and closes every connection.
   */
  async stop(deadlineMs: number, clock: Clock): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(deadlineMs, () => {
        this.#server.forceShutdown();
        resolve();
      });
      this.#server.tryShutdown(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** What a server of the cluster proves itself with; `mutual` also demands it of its callers. */
function serverCredentials(
  tls: ClusterTls,
  options: { readonly mutual: boolean },
): ServerCredentials {
  const pair = {
    private_key: Buffer.from(tls.identity.keyPem),
    cert_chain: Buffer.from(tls.identity.certPem),
  };
  return options.mutual
    ? ServerCredentials.createSsl(Buffer.from(tls.caPem), [pair], true)
    : ServerCredentials.createSsl(null, [pair], false);
}

function serverOptions(settings: GrpcServerSettings): ServerOptions {
  const shared: ServerOptions = {
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': settings.maxRequestBytes,
    'grpc.max_concurrent_streams': 128,
    // A caller that vanished without a word is noticed within 15 s and its memory freed.
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
  };
  return settings.callers === 'anyone'
    ? // Strangers ask once and are gone; who stays without asking is shown out.
      { ...shared, 'grpc.max_connection_idle_ms': 30_000, 'grpc.max_concurrent_streams': 16 }
    : { ...shared, interceptors: [onlyCallers(settings.callers)] };
}

/** Refuses calls of every service unless the caller's certificate proves one of `roles`. */
function onlyCallers(roles: readonly Role[]): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, proceed) => {
            const role = callerRole(call);
            if (role !== undefined && roles.includes(role)) {
              proceed(metadata);
              return;
            }
            call.sendStatus({
              code: status.PERMISSION_DENIED,
              details: `the caller's certificate is not that of a ${roles.join(' or ')}`,
            });
          },
        });
      },
    });
}

async function bind(
  server: Server,
  wanted: Address,
  credentials: ServerCredentials,
): Promise<Address> {
  const text = formatAddress(wanted);
  let host: string;
  try {
    host = canonicalIp((await lookup(wanted.host)).address);
  } catch (error) {
    throw new ChattyError(
      'CHATTY_CONFIG',
      `cannot listen on ${text}: the name ${wanted.host} has no address (${reasonOf(error)})`,
      { hint: 'Name an IP address of this computer, or 0.0.0.0 for all of them.', cause: error },
    );
  }
  try {
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(formatAddress({ host, port: wanted.port }), credentials, (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    return { host, port };
  } catch (error) {
    throw listenError(text, error);
  }
}

function listenError(text: string, error: unknown): ChattyError {
  const reason = reasonOf(error);
  if (reason.includes('EADDRINUSE')) {
    return new ChattyError('CHATTY_PORT_IN_USE', `cannot listen on ${text}: the port is in use`, {
      hint: 'Stop the program that uses it, choose another port, or port 0 for a free one.',
      cause: error,
    });
  }
  const what = reason.includes('EADDRNOTAVAIL')
    ? 'this computer does not have that address'
    : reason.includes('EACCES')
      ? 'this user may not use that port'
      : reason;
  return new ChattyError('CHATTY_CONFIG', `cannot listen on ${text}: ${what}`, {
    hint: 'Name an IP address of this computer, or 0.0.0.0 for all, and a port above 1023.',
    cause: error,
  });
}
