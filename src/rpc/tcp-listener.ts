import { lookup } from 'node:dns/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { type Address, canonicalIp, formatAddress } from '../base/address.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { type ConnectionLimits, ConnectionQuota } from './connection-quota.ts';

/**
 * Listens on TCP addresses and hands over connections, as many as the limits allow: a handshake that
 * never ends costs memory until it times out, and whoever begins thousands must not get thousands.
 */
export class TcpListener {
  readonly #quota: ConnectionQuota;
  readonly #accept: (socket: Socket) => void;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(limits: ConnectionLimits, accept: (socket: Socket) => void) {
    this.#quota = new ConnectionQuota(limits);
    this.#accept = accept;
  }

  /**
   * @param wanted a name stands for its first address; port 0 for a free one; `::` for every IPv6
   * address, not for IPv4 as well.
   * @returns where it listens.
   * @throws ChattyError CHATTY_PORT_IN_USE or CHATTY_CONFIG, which name the address.
   */
  async listen(wanted: Address): Promise<Address> {
    const text = formatAddress(wanted);
    let host: string;
    try {
      host = canonicalIp((await lookup(wanted.host)).address);
    } catch (error) {
      throw listenError(text, `the name has no address (${reasonOf(error)})`, error);
    }
    const server = createServer((socket) => this.#admit(socket));
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host, port: wanted.port, ipv6Only: true }, resolve);
      });
    } catch (error) {
      throw systemError(text, error as NodeJS.ErrnoException);
    }
    // A connection that fails while it is accepted is that connection's failure only.
    server.on('error', () => undefined);
    this.#servers.push(server);
    const bound = server.address();
    return { host, port: typeof bound === 'object' && bound !== null ? bound.port : wanted.port };
  }

  /** Takes no more connections; those that are go on. */
  close(): void {
    for (const server of this.#servers.splice(0)) server.close();
  }

  /** Ends every connection at once. */
  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #admit(socket: Socket): void {
    const release = this.#quota.admit(socket.remoteAddress ?? '');
    if (release === undefined) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      release();
    });
    socket.on('error', () => undefined);
    this.#accept(socket);
  }
}

function systemError(text: string, error: NodeJS.ErrnoException): ChattyError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new ChattyError('CHATTY_PORT_IN_USE', `cannot listen on ${text}: the port is in use`, {
        hint: 'Stop the program that uses it, choose another port, or port 0 for a free one.',
        cause: error,
      });
    case 'EADDRNOTAVAIL':
      return listenError(text, 'this computer does not have that address', error);
    case 'EACCES':
      return listenError(text, 'this user may not use that port', error);
    default:
      return listenError(text, reasonOf(error), error);
  }
}

function listenError(text: string, what: string, cause: unknown): ChattyError {
  return new ChattyError('CHATTY_CONFIG', `cannot listen on ${text}: ${what}`, {
    hint: 'Name an IP address of this computer, or 0.0.0.0 for all, and a port above 1023.',
    cause,
  });
}
