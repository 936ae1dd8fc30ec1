/*
 * A home router in user space, for the process that loads this before its program: each UDP socket is
 * seen at other ports than its own, and hears only those it has sent something to (RFC 4787: address-
 * and port-dependent filtering). NAT_MAPPING=symmetric gives each destination a port of its own
 * (address- and port-dependent mapping), otherwise all share one. The first NAT_LOSES STUN messages
 * to each destination get lost.
 */
import { createSocket, type RemoteInfo, Socket } from 'node:dgram';

const symmetric = process.env['NAT_MAPPING'] === 'symmetric';
const loses = Number(process.env['NAT_LOSES'] ?? 0);
/** RFC 9443 §2. */
const MAX_STUN_FIRST_BYTE = 3;

interface Mapping {
  readonly outside: Socket;
  /** By address, how many STUN messages went there. */
  readonly sent: Map<string, number>;
}

const outsides = new WeakSet<Socket>();
const mappings = new WeakMap<Socket, Map<string, Mapping>>();
const bare = Socket.prototype as unknown as Record<
  'emit' | 'send',
  (...args: unknown[]) => unknown
>;
const { emit, send } = bare;

function mappingFor(inside: Socket, destination: string): Mapping {
  const own = mappings.get(inside) ?? new Map<string, Mapping>();
  mappings.set(inside, own);
  const key = symmetric ? destination : '';
  const known = own.get(key);
  if (known !== undefined) return known;
  const outside = createSocket('udp4').unref();
  const mapping: Mapping = { outside, sent: new Map() };
  outsides.add(outside);
  own.set(key, mapping);
  outside.on('error', () => undefined);
  outside.on('message', (datagram: Buffer, from: RemoteInfo) => {
    if (!mapping.sent.has(`${from.address}:${from.port}`)) return;
    emit.call(inside, 'message', datagram, from);
  });
  return mapping;
}

Object.assign(Socket.prototype, {
  send(this: Socket, ...args: unknown[]): unknown {
    if (outsides.has(this)) return send.apply(this, args);
    const [datagram, port, host] = args as [Uint8Array, number, string];
    // The router has IPv4 only.
    if (host.includes(':')) return undefined;
    const destination = `${host}:${port}`;
    const { outside, sent } = mappingFor(this, destination);
    const isStun = (datagram[0] ?? 0) <= MAX_STUN_FIRST_BYTE;
    const count = (sent.get(destination) ?? 0) + (isStun ? 1 : 0);
    sent.set(destination, count);
    // The caller may use its memory again.
    if (!isStun || count > loses) outside.send(Buffer.from(datagram), port, host);
    return undefined;
  },
  emit(this: Socket, ...args: unknown[]): unknown {
    if (args[0] === 'message' && !outsides.has(this)) return false;
    return emit.apply(this, args);
  },
});
