import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { type Address, type Family, formatAddress } from '../base/address.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';

/** What a socket that carries conversations asks the system to buffer, each way. */
const BUFFER_BYTES = 4 * 1024 * 1024;
/** Past this much waiting for the network in user space, senders should wait. */
const CONGESTED_BYTES = 512 * 1024;
/** RFC 1700: the default time to live. */
const USUAL_HOPS = 64;

export type DatagramHandler = (datagram: Buffer, host: string, port: number) => void;

/** One bound UDP socket. Nothing about it throws after it has been opened. */
export class UdpSocket {
  readonly #socket: Socket;
  readonly family: Family;
  readonly address: Address;

  private constructor(socket: Socket, family: Family) {
    this.#socket = socket;
    this.family = family;
    const { address, port } = socket.address();
    this.address = { host: address, port };
  }

  /**
   * Binds `listen`; an IPv6 socket takes IPv6 only.
   * @throws ChattyError CHATTY_PORT_IN_USE, or CHATTY_CONFIG for an address that is not ours.
   */
  static async open(listen: Address): Promise<UdpSocket> {
    const family = isIPv6(listen.host) ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      // Every host is an IP address: answering at once makes `send` send when it is called.
      lookup: (host, _options, found) => {
        found(null, host, family);
      },
    });
    try {
      const listening = once(socket, 'listening');
      socket.bind({ address: listen.host, port: listen.port, exclusive: true });
      await listening;
    } catch (error) {
      socket.close();
      throw bindError(listen, error);
    }
    socket.on('error', () => undefined);
    for (const size of ['setRecvBufferSize', 'setSendBufferSize'] as const) {
      try {
        socket[size](BUFFER_BYTES);
      } catch {
        // The system's own size is less, and serves.
      }
    }
    return new UdpSocket(socket, family);
  }

  onDatagram(handle: DatagramHandler): void {
    this.#socket.on('message', (datagram, from) => {
      handle(datagram, from.address, from.port);
    });
  }

  /**
   * Hands a datagram to the system, or to a queue that copies nothing.
   * @param hops so many routers may pass it on (1 to 255); by default as many as are usual.
   * @returns false if it was refused outright.
   */
  send(datagram: Uint8Array, host: string, port: number, hops?: number): boolean {
    if (port < 1 || port > 65_535 || isIPv6(host) !== (this.family === 6)) return false;
    try {
      // The lookup is synchronous: the datagram is gone before the next line.
      if (hops !== undefined) this.#socket.setTTL(hops);
      this.#socket.send(datagram, port, host);
      return true;
    } catch {
      return false;
    } finally {
      if (hops !== undefined) this.#restoreHops();
    }
  }

  #restoreHops(): void {
    try {
      this.#socket.setTTL(USUAL_HOPS);
    } catch {
      // It has been closed.
    }
  }

  /** Whether the network takes less than it is given just now. */
  get congested(): boolean {
    return this.#socket.getSendQueueSize() > CONGESTED_BYTES;
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }
}

function bindError(listen: Address, error: unknown): ChattyError {
  const where = `udp ${formatAddress(listen)}`;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return new ChattyError('CHATTY_PORT_IN_USE', `${where} is in use by another program`, {
        cause: error,
        hint: 'Stop that program or choose another port; port 0 picks a free one.',
      });
    case 'EADDRNOTAVAIL':
      return new ChattyError('CHATTY_CONFIG', `${where} is no address of this computer`, {
        cause: error,
        hint: 'Listen on an address of one of its interfaces, or on 0.0.0.0 or [::] for all.',
      });
    case 'EACCES':
      return new ChattyError('CHATTY_CONFIG', `${where} needs more privileges than we have`, {
        cause: error,
        hint: 'Choose a port above 1023, or grant the right to bind low ports.',
      });
    default:
      return new ChattyError('CHATTY_CONFIG', `${where} cannot be bound: ${reasonOf(error)}`, {
        cause: error,
        hint: 'Check the listening address.',
      });
  }
}
