import { isIP } from 'node:net';
import { type Address, canonicalIp, sourcePrefix } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Identity } from '../base/identity.ts';
import type { ConnectionLimits } from '../rpc/connection-quota.ts';
import { TunnelServiceService } from '../rpc/generated/chatty/v1/tunnel.ts';
import { GrpcServer } from '../rpc/grpc-server.ts';
import { Tunnel, type TunnelStream } from './tunnel.ts';

export interface TunnelPortOptions {
  readonly listen: readonly Address[];
  /** That of the peers' QUIC. */
  readonly identity: Identity;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly opened: (tunnel: Tunnel) => void;
}

export interface TunnelStats {
  /** Tunnels that are open. */
  readonly open: number;
  /** Datagrams that a slow tunnel did not take. */
  readonly dropped: number;
}

/** As many datagrams as a peer sends in one turn. */
const MAX_MESSAGE_BYTES = 128 * 1024;
const CLOSE_WITHIN_MS = 500;

/** Where peers whose network lets no UDP through come in: gRPC over TLS. */
export class TunnelPort {
  readonly #options: TunnelPortOptions;
  readonly #tunnels = new Map<number, Tunnel>();
  #grpc: GrpcServer | undefined;
  #lastId = 0;
  #dropped = 0;

  private constructor(options: TunnelPortOptions) {
    this.#options = options;
  }

  /** @throws what `GrpcServer.listen` throws. */
  static async open(options: TunnelPortOptions): Promise<TunnelPort> {
    const port = new TunnelPort(options);
    const { listen, identity, limits } = options;
    port.#grpc = await GrpcServer.listen({
      listen,
      tls: { identity, caPem: identity.certPem },
      callers: 'anyone',
      maxRequestBytes: MAX_MESSAGE_BYTES,
      connections: limits,
      addServices: (server) => {
        server.addService(TunnelServiceService, {
          carry: (stream: TunnelStream) => port.#accept(stream),
        });
      },
    });
    return port;
  }

  get stats(): TunnelStats {
    return { open: this.#tunnels.size, dropped: this.#dropped };
  }

  get tunnels(): Iterable<Tunnel> {
    return this.#tunnels.values();
  }

  find(id: number): Tunnel | undefined {
    return this.#tunnels.get(id);
  }

  async close(): Promise<void> {
    for (const tunnel of this.#tunnels.values()) tunnel.end();
    await this.#grpc?.stop(CLOSE_WITHIN_MS, this.#options.clock);
  }

  #accept(stream: TunnelStream): void {
    this.#lastId += 1;
    const id = this.#lastId;
    const tunnel = new Tunnel(id, stream, {
      sourcePrefix: prefixOf(stream.getPeer()),
      now: this.#options.clock.now(),
      dropped: () => (this.#dropped += 1),
      ended: () => this.#tunnels.delete(id),
    });
    this.#tunnels.set(tunnel.id, tunnel);
    this.#options.opened(tunnel);
  }
}

/** Of gRPC's `IP:port`. */
function prefixOf(peer: string): string {
  const host = canonicalIp(peer.slice(0, Math.max(0, peer.lastIndexOf(':'))));
  return isIP(host) === 0 ? peer : sourcePrefix(host);
}
