import { Socket } from 'node:dgram';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { UdpSocket } from '../../../src/quic/udp-socket.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a datagram that few routers may pass on', () => {
  it('is the only one: the next one goes as far as is usual', async () => {
    const hops = vi.spyOn(Socket.prototype, 'setTTL');
    const sent = vi.spyOn(Socket.prototype, 'send');
    const [one, other] = [await UdpSocket.open(LOOPBACK), await UdpSocket.open(LOOPBACK)];
    const arrived = new Promise<string>((resolve) => {
      other.onDatagram((datagram) => resolve(datagram.toString()));
    });
    expect(one.send(Buffer.from('near'), other.address.host, other.address.port, 5)).toBe(true);
    expect(one.send(Buffer.from('far'), other.address.host, other.address.port)).toBe(true);
    expect(hops.mock.calls).toEqual([[5], [64]]);
    const orders = [hops, sent].map(({ mock }) => mock.invocationCallOrder);
    const [[few = 0, usual = 0] = [], [near = 0, far = 0] = []] = orders;
    expect([few, near, usual, far]).toEqual([few, near, usual, far].sort((x, y) => x - y));
    expect(await arrived).toBe('near');
    await Promise.all([one.close(), other.close()]);
  });

  it('is refused like any other on a socket that is closed, and nothing is thrown', async () => {
    const socket = await UdpSocket.open(LOOPBACK);
    await socket.close();
    expect(socket.send(Buffer.from('x'), '127.0.0.1', 9, 5)).toBe(false);
  });
});
