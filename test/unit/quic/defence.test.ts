import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { systemRandom } from '../../../src/base/random.ts';
import {
  dialServer,
  echoPair,
  echoStreams,
  exchange,
  firstAddress,
  openEndpoint,
  openServer,
  until,
} from './harness.ts';
import { firstInitials } from './initials.ts';
import { SkippingClock } from './skipping-clock.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** A UDP socket that keeps what it receives. */
async function listener(): Promise<{ address: Address; received: Buffer[]; socket: Socket }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  sockets.push(socket);
  await once(socket, 'listening');
  const received: Buffer[] = [];
  socket.on('message', (datagram) => received.push(datagram));
  return { address: { host: '127.0.0.1', port: socket.address().port }, received, socket };
}

async function firstInitial(): Promise<Buffer> {
  const [datagram] = await firstInitials(1);
  if (datagram === undefined) throw new Error('no Initial');
  return datagram;
}

const PEER: Address = { host: '127.9.9.9', port: 1000 };

describe('an endpoint under attack', () => {
  it('sends an unproven address at most three times what came from it', async () => {
    const server = await openServer();
    const initial = await firstInitial();
    const victim = await listener();
    const hit = (): number => victim.received.reduce((sum, { length }) => sum + length, 0);
    victim.socket.send(initial, server.address.port, server.address.host);
    await until(() => victim.received.length > 0);
    // Repeated, the Initial may be answered again, within the same limit.
    for (let count = 0; count < 10; count++) {
      victim.socket.send(initial, server.address.port, server.address.host);
    }
    await until(() => server.endpoint.stats.datagramsIn === 11);
    // quiche repeats its answer too, after a second.
    const before = server.endpoint.stats;
    await until(() => {
      const { datagramsOut, withheld } = server.endpoint.stats;
      return datagramsOut + withheld > before.datagramsOut + before.withheld;
    });
    expect(hit()).toBeGreaterThan(initial.length);
    expect(hit()).toBeLessThanOrEqual(3 * 11 * initial.length);
  });

  it('answers an unknown version with less than came, and nothing shorter', async () => {
    const server = await openServer();
    const sender = await listener();
    const unknown = Buffer.alloc(1200);
    unknown.write('cabababa0a' + '08' + '0102030405060708' + '0411121314', 'hex');
    sender.socket.send(unknown.subarray(0, 1199), server.address.port, server.address.host);
    sender.socket.send(unknown, server.address.port, server.address.host);
    await until(() => sender.received.length > 0);
    expect(sender.received.map((datagram) => datagram.toString('hex'))).toEqual([
      'c000000000' + '0411121314' + '08' + '0102030405060708' + '00000001',
    ]);
  });

  it('frees half-open handshakes at their time limit', async () => {
    const clock = new SkippingClock();
    const server = await openServer({ clock });
    const initial = await firstInitial();
    server.endpoint.receive(Buffer.from(initial), PEER);
    await until(() => server.endpoint.stats.datagramsOut > 0);
    expect(server.endpoint.stats).toMatchObject({ connections: 1, handshakes: 1 });
    clock.skip(4900);
    expect(server.endpoint.stats).toMatchObject({ connections: 1, handshakes: 1 });
    clock.skip(200);
    expect(server.endpoint.stats).toMatchObject({ connections: 0, handshakes: 0 });
  });

  it('takes no more handshakes from one source than its cap, and others still', async () => {
    const clock = new SkippingClock();
    const server = await openServer(
      { clock, limits: { maxHandshakesPerPrefix: 3 } },
      { onConnection: echoStreams },
    );
    const initials = await firstInitials(10);
    for (let port = 1; port <= 10; port++) {
      server.endpoint.receive(initials[port - 1] ?? Buffer.alloc(0), { ...PEER, port });
    }
    expect(server.endpoint.stats).toMatchObject({ handshakes: 3, dropped: { limit: 7 } });
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    expect(await exchange(connection, 'from elsewhere')).toBe('from elsewhere');
    clock.skip(5100);
    expect(server.endpoint.stats.handshakes).toBe(0);
  });

  it('takes no more connections from one source than its cap until one ends', async () => {
    const server = await openServer(
      { limits: { maxConnectionsPerPrefix: 2 } },
      { onConnection: echoStreams },
    );
    const client = await openEndpoint();
    const first = await dialServer(client, server.address);
    await dialServer(client, server.address);
    await expect(
      dialServer(client, server.address, { handshakeTimeoutMs: 100 }),
    ).rejects.toMatchObject({ code: 'CHATTY_TRANSPORT' });
    first.close();
    await until(() => server.endpoint.stats.connections === 1);
    const third = await dialServer(client, server.address);
    expect(await exchange(third, 'room again')).toBe('room again');
  });

  it('demands proof of the address above its threshold, and serves who gives it', async () => {
    const server = await openServer({}, { retryAbove: 0, onConnection: echoStreams });
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    expect(await exchange(connection, 'proven')).toBe('proven');
    expect(server.endpoint.stats).toMatchObject({ retriesSent: 1, accepted: 1 });
  });

  it('keeps no state for who is to prove his address', async () => {
    const server = await openServer({}, { retryAbove: 0 });
    const sender = await listener();
    const initial = await firstInitial();
    sender.socket.send(initial, server.address.port, server.address.host);
    await until(() => sender.received.length > 0);
    expect(server.endpoint.stats).toMatchObject({ retriesSent: 1, connections: 0, handshakes: 0 });
    expect(sender.received[0]?.length).toBeLessThan(initial.length);
  });

  it('asks for the admission of each new connection, and drops who has none', async () => {
    const asked: Address[] = [];
    const server = await openServer(
      {},
      {
        admit: (remote) => {
          asked.push(remote);
          return { kind: 'drop' };
        },
      },
    );
    const client = await openEndpoint();
    await expect(
      dialServer(client, server.address, { handshakeTimeoutMs: 50 }),
    ).rejects.toMatchObject({ code: 'CHATTY_TRANSPORT' });
    expect(asked).toEqual([firstAddress(client)]);
    expect(server.endpoint.stats).toMatchObject({ connections: 0, dropped: { refused: 1 } });
  });

  it('lives through the datagram that ends the JavaScript floor of the library', async () => {
    const { server, connection } = await echoPair();
    const zeroRtt = Buffer.concat([
      Buffer.from('d000000001', 'hex'),
      Uint8Array.of(20),
      systemRandom.bytes(20),
      Uint8Array.of(20),
      systemRandom.bytes(20),
      systemRandom.bytes(12),
    ]);
    const sender = await listener();
    sender.socket.send(zeroRtt, server.address.port, server.address.host);
    server.endpoint.receive(Buffer.concat([zeroRtt, Buffer.alloc(1200)]), PEER);
    await until(() => server.endpoint.stats.dropped.unknown === 2);
    expect(await exchange(connection, 'alive')).toBe('alive');
  });

  it('contains a handler that throws to its connection', async () => {
    const server = await openServer(
      {},
      {
        onConnection: (connection) => {
          if (server.connections.push(connection) === 1) throw new Error('a fault of ours');
          echoStreams(connection);
        },
      },
    );
    const client = await openEndpoint();
    const first = await dialServer(client, server.address);
    expect(await first.closed).toMatchObject({ kind: 'peer' });
    const second = await dialServer(client, server.address);
    expect(await exchange(second, 'fine')).toBe('fine');
    expect(server.endpoint.stats.connections).toBe(1);
  });
});
