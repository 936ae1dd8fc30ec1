import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Address } from '../../../src/base/address.ts';

async function bound(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

/** A NAT between one client and one server, whose outside port can change. */
export class UdpProxy {
  readonly address: Address;
  readonly #front: Socket;
  readonly #server: Address;
  #back: Socket;
  #client: Address | undefined;
  /** Sees each datagram from the client; false keeps it from going on. */
  onOutgoing: (datagram: Buffer) => boolean = () => true;
  /** Sees each datagram from the server; false keeps it from going on. */
  onIncoming: (datagram: Buffer) => boolean = () => true;

  private constructor(front: Socket, back: Socket, server: Address) {
    this.#front = front;
    this.#server = server;
    this.address = { host: '127.0.0.1', port: front.address().port };
    front.on('message', (datagram, from) => {
      this.#client = { host: from.address, port: from.port };
      if (this.onOutgoing(datagram)) this.#back.send(datagram, server.port, server.host);
    });
    this.#back = back;
    this.#listen(back);
  }

  static async open(server: Address): Promise<UdpProxy> {
    return new UdpProxy(await bound(), await bound(), server);
  }

  /** The outside port, by which the server knows the client. */
  get port(): number {
    return this.#back.address().port;
  }

  /** From now on the client has another outside port; what still comes for the old one is lost. */
  async rebind(): Promise<void> {
    const next = await bound();
    const old = this.#back;
    this.#back = next;
    this.#listen(next);
    old.close();
  }

  toServer(datagram: Uint8Array): void {
    this.#back.send(datagram, this.#server.port, this.#server.host);
  }

  close(): void {
    this.#front.close();
    this.#back.close();
  }

  #listen(back: Socket): void {
    back.on('message', (datagram) => {
      const client = this.#client;
      if (client !== undefined && this.onIncoming(datagram)) {
        this.#front.send(datagram, client.port, client.host);
      }
    });
  }
}
