import { type Address, type Family, familyOf } from '../base/address.ts';
import { ChattyError } from '../base/errors.ts';
import type { EndpointCounters } from './endpoint-stats.ts';
import { UdpSocket } from './udp-socket.ts';

type Receiver = (datagram: Buffer, remote: Address, local: Address) => void;

/** The sockets of one endpoint. What goes out is counted; nothing here throws, once open. */
export class UdpSockets {
  readonly #sockets: readonly UdpSocket[];
  /** Those opened later and for a while, by the very address object they are known by. */
  readonly #extra = new Map<Address, UdpSocket>();
  readonly #counters: EndpointCounters;
  readonly addresses: readonly Address[];
  #receive: Receiver = () => undefined;
  #closed = false;

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

  /** What arrives at any socket, those opened later included. */
  onDatagram(handle: Receiver): void {
    this.#receive = handle;
    for (const socket of this.#sockets) this.#listen(socket);
  }

  /**
   * Opens one more socket on a free port of the address that the first of `family` is bound to.
   * Nothing is sent from it unless its very address is given.
   * @throws what `UdpSocket.open` throws; ChattyError CHATTY_CONFIG without a socket of the family.
   */
  async openExtra(family: Family): Promise<Address> {
    const first = this.#sockets.find((socket) => socket.family === family);
    if (first === undefined || this.#closed) {
      throw new ChattyError('CHATTY_CONFIG', `there is no socket of IPv${family}`);
    }
    const socket = await UdpSocket.open({ host: first.address.host, port: 0 });
    // The endpoint may have been closed meanwhile, and with it every socket it knew of.
    if (this.#isClosed()) {
      await socket.close();
      throw new ChattyError('CHATTY_CONFIG', 'the endpoint is closed');
    }
    this.#extra.set(socket.address, socket);
    this.#listen(socket);
    return socket.address;
  }

  /** Closes a socket that `openExtra` opened; another is left alone. */
  async closeExtra(local: Address): Promise<void> {
    const socket = this.#extra.get(local);
    this.#extra.delete(local);
    await socket?.close();
  }

  get extraCount(): number {
    return this.#extra.size;
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  #listen(socket: UdpSocket): void {
    socket.onDatagram((datagram, host, port) => {
      this.#receive(datagram, { host, port }, socket.address);
    });
  }

  /** The address we send to `remote` from; undefined: no socket is of its family. */
  localFor(remote: Address): Address | undefined {
    return this.#socketFor(remote, undefined)?.address;
  }

  /**
   * Sends from the socket bound to an address equal to `local`, or the first of the family of
   * `remote`. @param hops so many routers may pass it on.
   * @returns false where it certainly was not sent.
   */
  send(datagram: Uint8Array, remote: Address, local: Address | undefined, hops?: number): boolean {
    return this.#sendOn(this.#socketFor(remote, local), datagram, remote, hops);
  }

  /** As `send`, from the very `local` that a datagram came to or that `localFor` gave. */
  transmit(datagram: Uint8Array, local: Address, remote: Address): void {
    let socket = this.#sockets[0];
    if (socket?.address !== local) socket = this.#sockets.find(({ address }) => address === local);
    this.#sendOn(socket, datagram, remote);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#sockets, ...this.#extra.values()];
    this.#extra.clear();
    await Promise.all(all.map((socket) => socket.close()));
  }

  #sendOn(
    socket: UdpSocket | undefined,
    datagram: Uint8Array,
    remote: Address,
    hops?: number,
  ): boolean {
    const sent = socket?.send(datagram, remote.host, remote.port, hops) ?? false;
    if (sent) this.#counters.datagramsOut += 1;
    else this.#counters.sendFailures += 1;
    return sent;
  }

  #socketFor(remote: Address, local: Address | undefined): UdpSocket | undefined {
    const family = familyOf(remote);
    const extra = local === undefined ? undefined : this.#extra.get(local);
    if (extra !== undefined) return extra.family === family ? extra : undefined;
    return this.#sockets.find(
      (socket) =>
        socket.family === family &&
        (local === undefined ||
          (socket.address.port === local.port && socket.address.host === local.host)),
    );
  }
}
