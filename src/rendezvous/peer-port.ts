import { type Address, sameAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import type { Identity } from '../base/identity.ts';
import type { Random } from '../base/random.ts';
import { answerBinding, CookieMint } from '../path/index.ts';
import {
  kindOf,
  type EndpointStats,
  type QuicConnection,
  QuicEndpoint,
  type QuicLimits,
  type QuicStream,
} from '../quic/index.ts';
import { encodeFrame, FrameDecoder, MAX_RENDEZVOUS_FRAME_BYTES } from '../rpc/frames.ts';
import { RENDEZVOUS_ALPN } from '../rpc/protocol.ts';
import type { ConnectionLimits } from '../rpc/connection-quota.ts';
import type { Sighting } from './hello.ts';
import type { RelayLink } from './relay-link.ts';
import { Tunnel } from './tunnel.ts';
import { TunnelPort, type TunnelStats } from './tunnel-port.ts';

/** Peers ping every 15 s: two pings may be lost. */
const IDLE_TIMEOUT_MS = 40_000;
/** What a peer that does not read may leave unread before it is cut off. */
const MAX_UNREAD_BYTES = 512 * 1024;
/** How long a refused peer has to take in why, before its connection is closed. */
const LINGER_MS = 1_000;
/** How often connections are looked at for a new source address, or a frame that never ends. */
const LOOK_EVERY_MS = 5_000;
/** How long a peer may take over one frame: a begun one may hold 64 KiB here. */
const FRAME_WITHIN_MS = 10_000;
/**
 * What a peer may send beyond what has been read. Each of the many peers that only wait could make
 * us hold as much; and since all is read as it comes, the longest frame passes all the same.
 */
const RECEIVE_WINDOW_BYTES = 64 * 1024;
/** What stands before each frame. */
const LENGTH_BYTES = 4;
/** A tunnel that carries no registration is ended after so long. */
const TUNNEL_IDLE_MS = 60_000;
/** How often a number is tried that may be free for UDP only. */
const ATTEMPTS = 10;
/** Handshakes in flight past which addresses have to be proven first. */
const RETRY_ABOVE = 200;

export interface PeerPortOptions {
  readonly listen: readonly Address[];
  readonly identity: Identity;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Partial<QuicLimits>;
  readonly tunnelLimits: ConnectionLimits;
  readonly handlers: PeerPortHandlers;
}

/** What happens at the port; connections are numbered. */
interface PeerPortHandlers {
  opened(connection: number, sighting: Sighting): void;
  frame(connection: number, bytes: Uint8Array): void;
  garbled(connection: number): void;
  sighted(connection: number, source: Address): void;
  closed(connection: number): void;
  /** A datagram with a relay frame's first byte came; it is the handler's. */
  relay(datagram: Uint8Array, from: RelayLink): void;
  /** Something here failed over what a peer sent; its connection is closed. */
  failed(error: unknown): void;
}

/** Counters since the port was opened. */
export interface PeerPortStats {
  /** Incoming handshakes that are over. */
  readonly handshakes: { readonly completed: number; readonly failed: number };
  /** Datagrams nobody was found for, by reason. */
  readonly dropped: EndpointStats['dropped'];
  readonly tunnels: TunnelStats;
}

interface Line {
  readonly connection: QuicConnection;
  stream: QuicStream | undefined;
  /** Undefined: it comes by a tunnel. */
  source: Address | undefined;
  finished: boolean;
  /** Bytes of the frame that has begun, and when it had. */
  begun: number;
  begunAt: number;
}

/**
 * The peers' side of a server: QUIC connections with one control stream each, STUN answers and relay
 * frames, by UDP or by tunnel.
 */
export class PeerPort {
  readonly #options: PeerPortOptions;
  readonly #lines = new Map<number, Line>();
  readonly #lingering = new Set<Timer>();
  readonly #cookies: CookieMint;
  #opened = 0;
  #endpoint: QuicEndpoint | undefined;
  #tunnels: TunnelPort | undefined;
  #look: Timer | undefined;

  private constructor(options: PeerPortOptions) {
    this.#options = options;
    this.#cookies = new CookieMint(options.random.bytes(32));
  }

  /**
   * Listens by UDP, and by TCP on the same numbers.
   * @throws what `QuicEndpoint.open` and `TunnelPort.open` throw.
   */
  static async open(options: PeerPortOptions): Promise<PeerPort> {
    const port = new PeerPort(options);
    const anyPort = options.listen.some((address) => address.port === 0);
    for (let left = anyPort ? ATTEMPTS : 1; port.#endpoint === undefined; left--) {
      const endpoint = await port.#openEndpoint();
      try {
        port.#tunnels = await port.#openTunnels(endpoint);
        port.#endpoint = endpoint;
      } catch (error) {
        await endpoint.close();
        // The number that was free for UDP is taken for TCP: another may be free for both.
        const taken = error instanceof ChattyError && error.code === 'CHATTY_PORT_IN_USE';
        if (left <= 1 || !taken) throw error;
      }
    }
    port.#lookLater();
    return port;
  }

  async #openEndpoint(): Promise<QuicEndpoint> {
    const options = this.#options;
    const endpoint = await QuicEndpoint.open({
      identity: options.identity,
      clock: options.clock,
      random: options.random,
      listen: options.listen,
      alpn: [RENDEZVOUS_ALPN],
      accept: {
        admit: () => ({ kind: 'plain' }),
        onConnection: (connection) => this.#accept(connection),
        retryAbove: RETRY_ABOVE,
      },
      limits: { maxStreams: 4, receiveWindowBytes: RECEIVE_WINDOW_BYTES, ...options.limits },
      idleTimeoutMs: IDLE_TIMEOUT_MS,
    });
    endpoint.onStun = (datagram, remote, local) => {
      const now = options.clock.now();
      const answer = answerBinding(datagram, remote, (source) => this.#cookies.mint(source, now));
      if (answer !== undefined) endpoint.send(answer, remote, local);
    };
    endpoint.onRelay = (datagram, remote, local) => {
      options.handlers.relay(datagram, { type: 'udp', remote, local });
    };
    return endpoint;
  }

  #openTunnels(endpoint: QuicEndpoint): Promise<TunnelPort> {
    const { identity, clock, tunnelLimits, handlers } = this.#options;
    return TunnelPort.open({
      ...{ identity, clock, listen: endpoint.addresses, limits: tunnelLimits },
      opened: (tunnel) => {
        tunnel.onDatagram = (datagram) => {
          try {
            if (kindOf(datagram) === 'relay') {
              handlers.relay(datagram, { type: 'tunnel', tunnel: tunnel.id });
            } else endpoint.deliver(datagram, 'relay', tunnel);
          } catch (error) {
            handlers.failed(error);
            tunnel.end();
          }
        };
        tunnel.onEnd = () => this.#endTunnel(tunnel);
      },
    });
  }

  get addresses(): readonly Address[] {
    return this.#endpoint?.addresses ?? [];
  }

  /** What came and went; undefined before it is open. */
  get stats(): PeerPortStats | undefined {
    const quic = this.#endpoint?.stats;
    if (quic === undefined) return undefined;
    const completed = this.#opened;
    const failed = quic.accepted - quic.handshakes - completed;
    const tunnels = this.#tunnels?.stats ?? { open: 0, dropped: 0 };
    return { handshakes: { completed, failed }, dropped: quic.dropped, tunnels };
  }

  /** The address that a STUN cookie given out here proves. */
  checkCookie(cookie: Uint8Array, now: number): Address | undefined {
    return this.#cookies.check(cookie, now);
  }

  /** A cookie that proves an address to whoever checks it here. */
  mintCookie(source: Address, now: number): Uint8Array {
    return this.#cookies.mint(source, now);
  }

  /** Where a connection comes from at this moment; undefined: it is gone. */
  linkOf(connection: number): RelayLink | undefined {
    const line = this.#lines.get(connection);
    if (line === undefined) return undefined;
    const { remote, local, carrier } = line.connection;
    if (carrier === undefined) return { type: 'udp', remote, local };
    return carrier instanceof Tunnel ? { type: 'tunnel', tunnel: carrier.id } : undefined;
  }

  /** Sends a relay frame, which has to stay as it is until the event loop has turned. */
  sendRelayed(link: RelayLink, datagram: Uint8Array): void {
    if (link.type === 'udp') this.#endpoint?.send(datagram, link.remote, link.local);
    else this.#tunnels?.find(link.tunnel)?.send(datagram);
  }

  /** Sends one frame, given without its length. A peer that reads too slowly is cut off. */
  send(connection: number, message: Uint8Array): void {
    const line = this.#lines.get(connection);
    if (line?.stream?.writable !== true) return;
    line.stream.write(encodeFrame(message));
    if (line.stream.writableLength > MAX_UNREAD_BYTES) line.connection.close(1, 'reads too slowly');
  }

  /** Closes the connection after what was sent before; what still comes in is not looked at. */
  finish(connection: number, reason: string): void {
    const line = this.#lines.get(connection);
    if (line === undefined || line.finished) return;
    line.finished = true;
    line.stream?.end();
    const timer = this.#options.clock.setTimer(LINGER_MS, () => line.connection.close(0, reason));
    this.#lingering.add(timer);
    void line.connection.closed.then(() => {
      timer.cancel();
      this.#lingering.delete(timer);
    });
  }

  async close(): Promise<void> {
    this.#look?.cancel();
    for (const timer of this.#lingering) timer.cancel();
    await this.#endpoint?.close(0, 'the server is stopping');
    await this.#tunnels?.close();
  }

  #accept(connection: QuicConnection): void {
    const { handlers } = this.#options;
    const line: Line = {
      ...{ connection, stream: undefined },
      source: connection.carrier === undefined ? connection.remote : undefined,
      ...{ finished: false, begun: 0, begunAt: 0 },
    };
    this.#opened += 1;
    this.#lines.set(connection.id, line);
    const key = Buffer.from(connection.peerFingerprint).toString('hex');
    handlers.opened(connection.id, { key, source: line.source });
    connection.onStream = (stream) => {
      if (line.stream === undefined) this.#control(line, stream);
      else stream.destroy();
    };
    void connection.closed.then(() => {
      this.#lines.delete(connection.id);
      handlers.closed(connection.id);
    });
  }

  /** A registration ends with its tunnel: nobody can be told anything by it any more. */
  #endTunnel(tunnel: Tunnel): void {
    for (const { connection } of this.#lines.values()) {
      if (connection.carrier === tunnel) connection.close(0, 'the tunnel is closed');
    }
  }

  /** Ends tunnels that are there for nothing. */
  #endIdleTunnels(): void {
    const tooOld = this.#options.clock.now() - TUNNEL_IDLE_MS;
    const idle = new Set<unknown>();
    for (const tunnel of this.#tunnels?.tunnels ?? []) {
      if (tunnel.openedAt < tooOld) idle.add(tunnel);
    }
    if (idle.size === 0) return;
    for (const { connection } of this.#lines.values()) idle.delete(connection.carrier);
    for (const tunnel of idle) if (tunnel instanceof Tunnel) tunnel.end();
  }

  #control(line: Line, stream: QuicStream): void {
    const { handlers } = this.#options;
    const { id } = line.connection;
    const decoder = new FrameDecoder(MAX_RENDEZVOUS_FRAME_BYTES);
    line.stream = stream;
    stream.on('data', (chunk: Buffer) => {
      if (line.finished) return;
      let frames: Uint8Array[];
      try {
        frames = decoder.push(chunk);
      } catch {
        this.#guard(line, () => handlers.garbled(id));
        return;
      }
      line.begun += chunk.length;
      for (const frame of frames) line.begun -= LENGTH_BYTES + frame.length;
      if (frames.length > 0 || line.begun === chunk.length)
        line.begunAt = this.#options.clock.now();
      for (const frame of frames) this.#guard(line, () => handlers.frame(id, frame));
    });
    // A peer whose stream is over can neither be asked nor told anything.
    stream.once('end', () => this.finish(id, 'the control stream has ended'));
    stream.once('error', () => line.connection.close(0, 'the control stream has failed'));
  }

  /** A fault of ours over what a peer sent ends that peer's connection, and nothing else. */
  #guard(line: Line, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#options.handlers.failed(error);
      line.connection.close(1, 'internal error');
    }
  }

  #lookLater(): void {
    this.#look = this.#options.clock.setTimer(LOOK_EVERY_MS, () => {
      const tooOld = this.#options.clock.now() - FRAME_WITHIN_MS;
      for (const [id, line] of this.#lines) {
        if (line.begun > 0 && line.begunAt < tooOld) this.#options.handlers.garbled(id);
        const { remote } = line.connection;
        if (line.source === undefined || sameAddress(line.source, remote)) continue;
        line.source = remote;
        this.#options.handlers.sighted(id, remote);
      }
      this.#endIdleTunnels();
      this.#lookLater();
    });
  }
}
