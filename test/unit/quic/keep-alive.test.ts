import { afterEach, describe, expect, it } from 'vitest';
import { dialServer, echoStreams, exchange, openEndpoint, openServer, until } from './harness.ts';
import { UdpProxy } from './udp-proxy.ts';

const proxies: UdpProxy[] = [];
afterEach(() => {
  for (const proxy of proxies.splice(0)) proxy.close();
});

describe('a keep-alive', () => {
  it('that is not answered in time ends the connection long before the idle timeout', async () => {
    const server = await openServer({}, { onConnection: echoStreams });
    const proxy = await UdpProxy.open(server.address);
    proxies.push(proxy);
    const client = await openEndpoint();
    const timing = { keepAliveMs: 20, keepAliveAnswerMs: 200 };
    const connection = await dialServer(client, proxy.address, timing);
    let asked = 0;
    proxy.onOutgoing = () => (++asked, true);
    await until(() => asked > 10);
    expect(await exchange(connection, 'still here')).toBe('still here');
    proxy.onIncoming = () => false;
    expect(await connection.closed).toMatchObject({
      kind: 'transport',
      reason: 'a keep-alive was not answered',
    });
  });

  it('is sent at once where that is asked for, and awaited until something comes', async () => {
    const server = await openServer({}, { onConnection: echoStreams });
    const proxy = await UdpProxy.open(server.address);
    proxies.push(proxy);
    const client = await openEndpoint();
    const connection = await dialServer(client, proxy.address);
    expect(await exchange(connection, 'here')).toBe('here');
    expect(connection.isAwaited).toBe(false);
    let comes = false;
    proxy.onIncoming = () => comes;
    connection.ping();
    expect(connection.isAwaited).toBe(true);
    comes = true;
    await until(() => !connection.isAwaited);
    connection.close();
    connection.ping();
  });
});
