import type { Address } from '../../src/base/address.ts';
import type { PlainComputer, PlainSocket } from './plain-computer.ts';
import type { Behaviour } from './router-types.ts';

/** A plain computer that everybody reaches, with sockets whose ports are known. */
export interface Observer {
  readonly computer: PlainComputer;
  readonly v4: string;
  readonly v6: string;
  readonly sockets: {
    readonly first: PlainSocket;
    readonly second: PlainSocket;
    readonly third: PlainSocket;
    readonly port443: PlainSocket;
    readonly v6: PlainSocket;
    /** Sends back what it hears. */
    readonly echo: PlainSocket;
  };
  readonly tcpPort: number;
}

type Ipv4 = NonNullable<Behaviour['ipv4']>;

/**
 * Finds out with plain sockets what the network of a computer does, after RFC 5780's manner. That a
 * packet does not come is told by a later one that does: none overtakes another here, so nothing
 * waits for a time to pass.
 *
 * @param observers two, at different addresses.
 * @param own the addresses the computer has by itself.
 */
export async function behaviourOf(
  computer: PlainComputer,
  own: readonly string[],
  observers: readonly [Observer, Observer],
): Promise<Behaviour> {
  const udp = await udpOf(computer, observers[0]);
  const reach = {
    udp: udp.which,
    tcp: udp.tcp,
    ipv6: await ipv6Of(computer, own, observers),
  };
  if (reach.udp !== 'all') return reach;
  const mapping = await mappingOf(computer, own, observers);
  const ipv4: Ipv4 = {
    mapping,
    filtering: await filteringOf(computer, observers),
    ports: await portsOf(computer, observers[0]),
    hairpin: await hairpins([computer, computer], observers[0]),
    earlyPacketMoves:
      mapping === 'endpoint-independent' && (await earlyPacketMoves(computer, observers[0])),
  };
  return { ...reach, ipv4 };
}

/** As far as the first router behind the one at home. */
const HOME_HOPS = 2;

type SocketName = 'first' | 'second' | 'third' | 'port443';

function at(observer: Observer, socket: SocketName): Address {
  return { host: observer.v4, port: observer.sockets[socket].port };
}

/** Where a socket is seen from. */
export async function ask(
  from: PlainSocket,
  observer: Observer,
  socket: SocketName,
): Promise<Address> {
  const { text } = await from.computer.send(from, at(observer, socket));
  const { host, port } = await observer.computer.hears(observer.sockets[socket], text);
  return { host, port };
}

async function udpOf(
  computer: PlainComputer,
  observer: Observer,
): Promise<{ which: Behaviour['udp']; tcp: boolean }> {
  const socket = await computer.open();
  const any = await computer.send(socket, at(observer, 'first'));
  const to443 = await computer.send(socket, at(observer, 'port443'));
  const tcp = await computer.connectTcp({ host: observer.v4, port: observer.tcpPort });
  if (!tcp) return { which: 'none', tcp };
  // The TCP handshake left later; what was before it, the observer has told before it answers this.
  await observer.computer.open();
  const { first, port443 } = observer.sockets;
  if (observer.computer.heard(first, any.text) !== undefined) return { which: 'all', tcp };
  const came = observer.computer.heard(port443, to443.text) !== undefined;
  return { which: came ? '443' : 'none', tcp };
}

async function mappingOf(
  computer: PlainComputer,
  own: readonly string[],
  [one, other]: readonly [Observer, Observer],
): Promise<Ipv4['mapping']> {
  const socket = await computer.open();
  const first = await ask(socket, one, 'first');
  const otherPort = await ask(socket, one, 'second');
  const otherHost = await ask(socket, other, 'first');
  if (own.includes(first.host) && first.port === socket.port) return 'none';
  const same = (a: Address): boolean => a.host === first.host && a.port === first.port;
  if (same(otherPort)) return same(otherHost) ? 'endpoint-independent' : 'address';
  return 'address-and-port';
}

async function filteringOf(
  computer: PlainComputer,
  [one, other]: readonly [Observer, Observer],
): Promise<Ipv4['filtering']> {
  const socket = await computer.open();
  const mapped = await ask(socket, one, 'first');
  const fromOtherHost = await other.computer.send(other.sockets.first, mapped);
  const fromOtherPort = await one.computer.send(one.sockets.second, mapped);
  await heardBy(socket, mapped, one);
  // On two lines the later packet may be taken up first; not so after a round trip.
  await heardBy(socket, mapped, one);
  if (computer.heard(socket, fromOtherHost.text) !== undefined) return 'endpoint-independent';
  const came = computer.heard(socket, fromOtherPort.text) !== undefined;
  return came ? 'address' : 'address-and-port';
}

async function portsOf(computer: PlainComputer, observer: Observer): Promise<Ipv4['ports']> {
  const seen: { readonly own: number; readonly mapped: number }[] = [];
  while (seen.length < 4) {
    const socket = await computer.open();
    const { port } = await ask(socket, observer, 'first');
    seen.push({ own: socket.port, mapped: port });
  }
  if (seen.every(({ own, mapped }) => own === mapped)) return 'preserved';
  const steps = seen.slice(1).map(({ mapped }, index) => mapped - (seen[index]?.mapped ?? 0));
  return steps.every((step) => step > 0 && step < 4) ? 'sequential' : 'random';
}

/** Whether sockets of two computers behind one router reach each other by their outer addresses. */
async function hairpins(
  [one, other]: readonly [PlainComputer, PlainComputer],
  observer: Observer,
): Promise<boolean> {
  const [from, to] = [await one.open(), await other.open()];
  const [fromMapped, toMapped] = [
    await ask(from, observer, 'first'),
    await ask(to, observer, 'first'),
  ];
  // Linux at home is opened without a packet that arrives: early ones would move the mapping.
  await one.send(from, toMapped, HOME_HOPS);
  await other.send(to, fromMapped, HOME_HOPS);
  await heardBy(to, toMapped, observer);
  await one.send(from, toMapped);
  await other.send(to, fromMapped);
  // Each has opened every filter for the other by now.
  await heardBy(to, toMapped, observer);
  const { text } = await one.send(from, toMapped);
  await ask(from, observer, 'first');
  await heardBy(to, toMapped, observer);
  const came = other.heard(to, text);
  return came?.host === fromMapped.host && came.port === fromMapped.port;
}

/** Waits until a packet that leaves the observer now is there. */
async function heardBy(socket: PlainSocket, mapped: Address, observer: Observer): Promise<void> {
  const { text } = await observer.computer.send(observer.sockets.first, mapped);
  await socket.computer.hears(socket, text);
}

/** What two computers of one network find. */
export interface Neighbourhood {
  /** Whether they reach each other inside it. */
  readonly inside: boolean;
  /** Whether they reach each other by their outer addresses. */
  readonly hairpin: boolean;
}

/** @param addresses by which they would reach each other inside. */
export async function neighbourhoodOf(
  computers: readonly [PlainComputer, PlainComputer],
  addresses: readonly [string, string],
  observer: Observer,
): Promise<Neighbourhood> {
  const [one, other] = computers;
  const [from, to] = [await one.open(), await other.open()];
  const toMapped = await ask(to, observer, 'first');
  // The router between them, if there is one, keeps the ports.
  await other.send(to, { host: addresses[0], port: from.port });
  await heardBy(to, toMapped, observer);
  const { text } = await one.send(from, { host: addresses[1], port: to.port });
  await ask(from, observer, 'first');
  await heardBy(to, toMapped, observer);
  return {
    inside: other.heard(to, text) !== undefined,
    hairpin: await hairpins(computers, observer),
  };
}

async function earlyPacketMoves(computer: PlainComputer, observer: Observer): Promise<boolean> {
  const socket = await computer.open();
  const before = await ask(socket, observer, 'first');
  await observer.computer.send(observer.sockets.third, before);
  await heardBy(socket, before, observer);
  const after = await ask(socket, observer, 'third');
  return after.port !== before.port;
}

async function ipv6Of(
  computer: PlainComputer,
  own: readonly string[],
  [one, other]: readonly [Observer, Observer],
): Promise<Behaviour['ipv6']> {
  if (!own.some((host) => host.includes(':'))) return 'none';
  const socket = await computer.open('::');
  const { text } = await computer.send(socket, { host: one.v6, port: one.sockets.v6.port });
  const { host, port } = await one.computer.hears(one.sockets.v6, text);
  const unasked = await other.computer.send(other.sockets.v6, { host, port });
  for (let turn = 0; turn < 2; turn++) {
    const asked = await one.computer.send(one.sockets.v6, { host, port });
    await computer.hears(socket, asked.text);
  }
  return computer.heard(socket, unasked.text) === undefined ? 'firewalled' : 'open';
}
