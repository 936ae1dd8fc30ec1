import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { QuicConnection } from '../../../src/quic/index.ts';
import {
  dialServer,
  echoStreams,
  exchange,
  openEndpoint,
  openServer,
  readAll,
  type Server,
  until,
} from './harness.ts';
import { UdpProxy } from './udp-proxy.ts';

const proxies: UdpProxy[] = [];
afterEach(() => {
  for (const proxy of proxies.splice(0)) proxy.close();
});

async function behindNat(): Promise<{
  server: Server;
  proxy: UdpProxy;
  connection: QuicConnection;
  accepted: QuicConnection;
}> {
  const server = await openServer();
  const proxy = await UdpProxy.open(server.address);
  proxies.push(proxy);
  const client = await openEndpoint();
  const connection = await dialServer(client, proxy.address);
  const accepted = await server.next();
  echoStreams(accepted);
  await exchange(connection, 'hello');
  return { server, proxy, connection, accepted };
}

/** Asks and answers until the server has been convinced of the client's address. */
async function settle(connection: QuicConnection, accepted: QuicConnection, port: number) {
  for (let count = 0; accepted.remote.port !== port && count < 50; count++) {
    await exchange(connection, 'where am I?');
  }
}

describe('a client whose NAT rebinds', () => {
  it('is followed to 60 addresses, and believed at each', async () => {
    const { proxy, connection, accepted } = await behindNat();
    for (let count = 0; count < 60; count++) {
      await proxy.rebind();
      expect(await exchange(connection, `number ${count}`)).toBe(`number ${count}`);
      await settle(connection, accepted, proxy.port);
      expect(accepted.remote).toEqual({ host: '127.0.0.1', port: proxy.port });
    }
  });

  it('loses nothing of a transfer during which it moves 20 times', async () => {
    const { proxy, connection } = await behindNat();
    const stream = connection.openStream();
    const received = readAll(stream);
    const sent = Buffer.alloc(200_000, 'all that glitters ');
    for (let count = 0; count < 20; count++) {
      await new Promise((resolve) => stream.write(sent, resolve));
      await proxy.rebind();
    }
    stream.end();
    expect((await received).equals(Buffer.concat(Array<Buffer>(20).fill(sent)))).toBe(true);
  });

  it('moves again before it was believed', async () => {
    const { proxy, connection, accepted } = await behindNat();
    for (let count = 0; count < 5; count++) await proxy.rebind();
    proxy.onOutgoing = () => {
      void proxy.rebind();
      return true;
    };
    const answer = exchange(connection, 'from everywhere');
    await new Promise((resolve) => setImmediate(resolve));
    proxy.onOutgoing = () => true;
    expect(await answer).toBe('from everywhere');
    await settle(connection, accepted, proxy.port);
    expect(accepted.remote.port).toBe(proxy.port);
  });

  it('does not let a spoofer direct more than three times his bytes at a victim', async () => {
    const { server, proxy, connection, accepted } = await behindNat();
    const victim = createSocket('udp4').bind(0, '127.0.0.1');
    await once(victim, 'listening');
    let [spoofed, hit] = [0, 0];
    victim.on('message', (datagram) => (hit += datagram.length));
    const request = connection.openStream();
    request.write('a large answer, please');
    const large = Buffer.alloc(1_000_000);
    // Everything the client says from now on reaches the server from the victim's address instead.
    proxy.onOutgoing = (datagram) => {
      spoofed += datagram.length;
      victim.send(datagram, server.address.port, server.address.host);
      return false;
    };
    const push = accepted.openStream();
    push.write(large);
    request.write('more');
    await until(() => server.endpoint.stats.withheld > 0 && hit > 0);
    expect(hit).toBeGreaterThan(0);
    expect(hit).toBeLessThanOrEqual(3 * spoofed);
    expect(accepted.remote.port).toBe(proxy.port);
    // The client is heard from its own address again.
    proxy.onOutgoing = () => true;
    expect(await exchange(connection, 'it is me')).toBe('it is me');
    expect(accepted.remote.port).toBe(proxy.port);
    victim.close();
  });

  it('is heard again where it was, when the move was a lie and it has nothing to say', async () => {
    const { server, proxy, connection, accepted } = await behindNat();
    const liar = createSocket('udp4').bind(0, '127.0.0.1');
    await once(liar, 'listening');
    // The liar repeats all the client says until he is believed for now, and then the client is
    // not heard until the server has spoken to it.
    let [believed, spoken] = [false, false];
    liar.once('message', () => (believed = true));
    proxy.onOutgoing = (datagram) => {
      if (!believed) liar.send(datagram, server.address.port, server.address.host);
      return spoken;
    };
    connection.openStream().write('this one comes by the liar');
    await until(() => believed);
    proxy.onIncoming = () => {
      spoken = true;
      return true;
    };
    const told = new Promise<string>((resolve) => {
      connection.onStream = (stream) => stream.once('data', (chunk) => resolve(String(chunk)));
    });
    accepted.openStream().write('are you there?');
    expect(await told).toBe('are you there?');
    expect(accepted.remote.port).toBe(proxy.port);
    liar.close();
  });

  it('is not moved by datagrams that are repeated or made up', async () => {
    const { server, proxy, connection, accepted } = await behindNat();
    const captured: Buffer[] = [];
    proxy.onOutgoing = (datagram) => {
      captured.push(Buffer.from(datagram));
      return true;
    };
    await exchange(connection, 'hello');
    const stranger = createSocket('udp4').bind(0, '127.0.0.1');
    await once(stranger, 'listening');
    let answered = 0;
    stranger.on('message', () => (answered += 1));
    for (const datagram of captured) {
      const forged = Buffer.from(datagram);
      forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
      stranger.send(datagram, server.address.port, server.address.host);
      stranger.send(forged, server.address.port, server.address.host);
    }
    expect(await exchange(connection, 'hello again')).toBe('hello again');
    expect([accepted.remote.port, answered]).toEqual([proxy.port, 0]);
    stranger.close();
  });
});
