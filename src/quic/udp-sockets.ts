import { type Address, familyOf } from '../base/address.ts';
import type { EndpointCounters } from './endpoint-stats.ts';
import { UdpSocket } from './udp-socket.ts';

/** The sockets of one endpoint. What goes out is counted; nothing here throws, once open. */
export class UdpSockets {
  readonly #sockets: readonly UdpSocket[];
  readonly #counters: EndpointCounters;
  readonly addresses: readonly Address[];

  private constructor(sockets: readonly UdpSocket[], counters: EndpointCounters) {
    this.#sockets = sockets;
    this.#counters = counters;
    this.addresses = sockets.map((socket) => socket.address);
  }

  /** Binds one socket for each of `listen`. @throws what `UdpSocket.open` throws. */
  static async open(listen: readonly Address[], counters: EndpointCounters): Promise<UdpSockets> {
    const sockets: UdpSocket[] = [];
    try {
      for (const address of listen) sockets.push(await UdpSocket.open(address));
      return new UdpSockets(sockets, counters);
    } catch (error) {
      await Promise.all(sockets.map((socket) => socket.close()));
      throw error;
    }
  }

  /** Whether the network takes less than it is given just now. */
  get congested(): boolean {
    return this.#sockets.some((socket) => socket.congested);
  }

  onDatagram(handle: (datagram: Buffer, remote: Address, local: Address) => void): void {
    for (const socket of this.#sockets) {
      socket.onDatagram((datagram, host, port) => {
        handle(datagram, { host, port }, socket.address);
      });
    }
  }

  /** The address we send to `remote` from; undefined: no socket is of its family. */
  localFor(remote: Address): Address | undefined {
    return this.#socketFor(remote, undefined)?.address;
  }

  /**
   * Sends from the socket bound to an address equal to `local`, or the first of the family of
   * `remote`. @returns false where it certainly was not sent.
   */
  send(datagram: Uint8Array, remote: Address, local: Address | undefined): boolean {
    return this.#sendOn(this.#socketFor(remote, local), datagram, remote);
  }

  /** As `send`, from the very `local` that a datagram came to or that `localFor` gave. */
  transmit(datagram: Uint8Array, local: Address, remote: Address): void {
    let socket = this.#sockets[0];
    if (socket?.address !== local) socket = this.#sockets.find(({ address }) => address === local);
    this.#sendOn(socket, datagram, remote);
  }

  async close(): Promise<void> {
    await Promise.all(this.#sockets.map((socket) => socket.close()));
  }

  #sendOn(socket: UdpSocket | undefined, datagram: Uint8Array, remote: Address): boolean {
    const sent = socket?.send(datagram, remote.host, remote.port) ?? false;
    if (sent) this.#counters.datagramsOut += 1;
    else this.#counters.sendFailures += 1;
    return sent;
  }

  #socketFor(remote: Address, local: Address | undefined): UdpSocket | undefined {
    const family = familyOf(remote);
    return this.#sockets.find(
      (socket) =>
        socket.family === family &&
        (local === undefined ||
          (socket.address.port === local.port && socket.address.host === local.host)),
    );
  }
}
