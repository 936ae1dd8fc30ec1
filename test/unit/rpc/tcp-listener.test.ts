import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { createClusterCa, issueCertificate } from '../../../src/base/certificate.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { fetchServers } from '../../../src/rpc/balancer-client.ts';
import { LoadBalancerServiceService } from '../../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import { GrpcServer } from '../../../src/rpc/grpc-server.ts';
import { type ConnectionLimits, ConnectionQuota } from '../../../src/rpc/connection-quota.ts';
import { TcpListener } from '../../../src/rpc/tcp-listener.ts';
import type { ClusterTls } from '../../../src/rpc/tls-files.ts';
import { unaryHandler } from '../../../src/rpc/unary-handler.ts';

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function listener(limits: ConnectionLimits): Promise<{ address: Address; held: Socket[] }> {
  const held: Socket[] = [];
  const tcp = new TcpListener(limits, (socket) => {
    held.push(socket);
    socket.resume();
  });
  stops.push(() => {
    tcp.close();
    tcp.destroyConnections();
  });
  return { address: await tcp.listen({ host: '127.0.0.1', port: 0 }), held };
}

function open(address: Address): Socket {
  const socket = connect(address.port, address.host);
  socket.on('error', () => undefined);
  stops.push(() => socket.destroy());
  return socket;
}

const event = (socket: Socket, name: 'close' | 'connect'): Promise<void> =>
  new Promise((resolve) => socket.once(name, () => resolve()));

describe('the quota of connections', () => {
  it.each([
    ['one IPv4 address', ['192.0.2.1', '::ffff:192.0.2.1'], '192.0.2.2'],
    ['one IPv6 network', ['2001:db8::1', '2001:db8::2'], '2001:db8:0:1::1'],
  ])('has a limit for %s', (_what, [one = '', same = ''], other) => {
    const quota = new ConnectionQuota({ total: 10, perSource: 2 });
    const release = quota.admit(one);
    expect(quota.admit(same)).toBeDefined();
    expect(quota.admit(one)).toBeUndefined();
    expect(quota.admit(other)).toBeDefined();
    release?.();
    expect(quota.admit(same)).toBeDefined();
  });

  it('has a limit for all together, loopback included', () => {
    const quota = new ConnectionQuota({ total: 3, perSource: 1 });
    const releases = ['127.0.0.1', '127.0.0.1', '::1'].map((host) => quota.admit(host));
    expect(releases).not.toContain(undefined);
    expect(quota.admit('192.0.2.1')).toBeUndefined();
    releases[0]?.();
    expect(quota.admit('192.0.2.1')).toBeDefined();
  });
});

describe('a TCP listener', () => {
  it('closes connections beyond its limit, and takes new ones when others have gone', async () => {
    const { address, held } = await listener({ total: 2, perSource: 10 });
    const [first, second] = [open(address), open(address)];
    await Promise.all([event(first, 'connect'), event(second, 'connect')]);
    const third = open(address);
    await event(third.resume(), 'close');
    expect(held).toHaveLength(2);
    const gone = event(held[0] as Socket, 'close');
    first.destroy();
    second.destroy();
    await gone;
    const fourth = open(address);
    await event(fourth, 'connect');
    const fifth = open(address);
    await event(fifth, 'connect');
    expect(held.length).toBeGreaterThan(2);
  });

  it('listens on IPv4 and IPv6 of one port beside each other', async (test) => {
    // Containers often come without ::1; then there is nothing here that could be told apart.
    const ipv6 = Object.values(networkInterfaces()).flat();
    if (!ipv6.some((each) => each?.address === '::1')) test.skip('this computer has no IPv6');
    const tcp = new TcpListener({ total: 1, perSource: 1 }, () => undefined);
    stops.push(() => tcp.close());
    const { port } = await tcp.listen({ host: '::1', port: 0 });
    expect(await tcp.listen({ host: '127.0.0.1', port })).toEqual({ host: '127.0.0.1', port });
  });

  it('says that a name has no address', async () => {
    const tcp = new TcpListener({ total: 1, perSource: 1 }, () => undefined);
    await expect(tcp.listen({ host: 'no-such-name.invalid', port: 0 })).rejects.toMatchObject({
      code: 'CHATTY_CONFIG',
      message: expect.stringContaining('no-such-name.invalid:0: the name has no') as string,
    });
  });
});

describe('a gRPC server', () => {
  let tls: ClusterTls;
  beforeAll(async () => {
    const ca = await createClusterCa();
    const identity = await issueCertificate(ca, 'loadbalancer.chatty.internal');
    tls = { caPem: ca.certPem, identity };
  });

  it('counts no connection that is over, however it was used', async () => {
    const server = await GrpcServer.listen({
      listen: [{ host: '127.0.0.1', port: 0 }],
      tls,
      callers: 'anyone',
      maxRequestBytes: 1024,
      connections: { total: 2, perSource: 2 },
      addServices: (grpc) => {
        grpc.addService(LoadBalancerServiceService, {
          getServers: unaryHandler(
            () => ({ servers: [], stunAddresses: [], loadBalancers: [] }),
            () => undefined,
          ),
        });
      },
    });
    stops.push(() => server.stop(100, systemClock));
    const [address] = server.addresses;
    if (address === undefined) throw new Error('it listens nowhere');
    // One connection to look and one to ask, each time; never more than two at once.
    let answered = 0;
    for (let count = 0; count < 8; count += 1) {
      const trust = { kind: 'first-use' } as const;
      const question = { address, trust, deadlineMs: 5_000, clock: systemClock };
      // The connection before may not be gone yet; then this one is closed, and the next is not.
      answered += await fetchServers(question).then(
        () => 1,
        () => 0,
      );
    }
    expect(answered).toBeGreaterThan(2);
  });
});
