import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerOptions,
  status,
} from '@grpc/grpc-js';
import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { ConnectionLimits } from './connection-quota.ts';
import { callerRole, type Role } from './role.ts';
import { TcpListener } from './tcp-listener.ts';
import type { ClusterTls } from './tls-files.ts';

export interface GrpcServerSettings {
  /** Where to listen; see `TcpListener.listen` for names, wildcards and port 0. */
  readonly listen: readonly Address[];
  readonly tls: ClusterTls;
  /**
   * Who may call. `anyone`: no client certificate is asked for. Otherwise mutual TLS: callers prove
   * by a certificate under the cluster's CA that they have one of these roles, which may differ by
   * the method's path, like `/chatty.v1.MembershipService/Notify`.
   */
  readonly callers: 'anyone' | readonly Role[] | ((path: string) => readonly Role[]);
  /** The largest request, in bytes. */
  readonly maxRequestBytes: number;
  /** How many connections at once; default: by who may call. */
  readonly connections?: ConnectionLimits;
  /** Adds the services, before the first caller can connect. */
  readonly addServices: (server: Server) => void;
}

/** Strangers ask and are gone: thousands at once is an attack. */
const STRANGERS: ConnectionLimits = { total: 4_096, perSource: 64 };
/** A thousand servers, each with a few connections; several may be behind one address. */
const CLUSTER: ConnectionLimits = { total: 8_192, perSource: 512 };

/** A gRPC server over TLS on one or several addresses. */
export class GrpcServer {
  /** The addresses it listens on, with the ports it really got, in the order asked for. */
  readonly addresses: readonly Address[];
  readonly #server: Server;
  readonly #listener: TcpListener;

  private constructor(server: Server, listener: TcpListener, addresses: readonly Address[]) {
    this.#server = server;
    this.#listener = listener;
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
    const open = settings.callers === 'anyone';
    const credentials = serverCredentials(settings.tls, { mutual: !open });
    const injector = server.createConnectionInjector(credentials);
    const limits = settings.connections ?? (open ? STRANGERS : CLUSTER);
    const listener = new TcpListener(limits, (socket) => {
      injector.injectConnection(socket);
    });
    try {
      const addresses: Address[] = [];
      for (const wanted of settings.listen) addresses.push(await listener.listen(wanted));
      return new GrpcServer(server, listener, addresses);
    } catch (error) {
      listener.close();
      listener.destroyConnections();
      server.forceShutdown();
      throw error;
    }
  }

  /**
   * Takes no new calls, waits for those that run, at most `deadlineMs`, and closes every connection.
   */
  async stop(deadlineMs: number, clock: Clock): Promise<void> {
    this.#listener.close();
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
    // Those too that have not got as far as a handshake.
    this.#listener.destroyConnections();
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

/** Refuses calls unless the caller's certificate proves one of the roles that may make them. */
function onlyCallers(callers: Exclude<GrpcServerSettings['callers'], 'anyone'>): ServerInterceptor {
  return ({ path }, call) => {
    const roles = typeof callers === 'function' ? callers(path) : callers;
    return new ServerInterceptingCall(call, {
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
  };
}
