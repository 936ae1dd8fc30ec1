import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { LoadBalancer } from '../../src/loadbalancer/load-balancer.ts';
import { type BalancerTrust } from '../../src/rpc/balancer-trust.ts';
import { fetchServers } from '../../src/rpc/balancer-client.ts';
import { clientFor } from '../../src/rpc/cluster-channel.ts';
import {
  type RegisterResponse,
  RegistrationServiceClient,
} from '../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';
import { unary } from '../../src/rpc/unary-call.ts';
import { FakeServer, first, TestCluster } from './loadbalancer-support.ts';

const clock = systemClock;
let own: TestCluster;
let foreign: TestCluster;
let balancer: LoadBalancer;
let server: FakeServer;
beforeAll(async () => {
  own = await TestCluster.create();
  foreign = await TestCluster.create();
  balancer = await own.balancer();
  server = await own.server('a');
});
afterAll(async () => {
  await own.stop();
  await foreign.stop();
});

const sockets: TLSSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

async function register(tls: ClusterTls, to = balancer): Promise<RegisterResponse> {
  const client = clientFor(
    RegistrationServiceClient,
    first(to.clusterAddresses),
    tls,
    'loadbalancer',
  );
  const request = { protocol: OWN_PROTOCOL, member: server.member, knownLoadBalancers: [] };
  try {
    return await unary<RegisterResponse>(
      (metadata, options, done) => client.register(request, metadata, options, done),
      { deadlineMs: 5_000, clock },
    );
  } finally {
    client.close();
  }
}

/** Resolves when the balancer has ended the connection. @returns the error, where one was told. */
async function tlsFailure(options: ConnectionOptions): Promise<string> {
  const socket = connect({
    ...first(balancer.clusterAddresses),
    ca: own.serverTls.caPem,
    servername: 'loadbalancer.chatty.internal',
    ALPNProtocols: ['h2'],
    ...options,
  });
  sockets.push(socket);
  let told = 'closed';
  socket.on('error', (error: NodeJS.ErrnoException) => {
    told = error.code ?? error.message;
  });
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  return told;
}

describe("the plane on which a load balancer's servers register", () => {
  it('takes a server of its own cluster', async () => {
    expect(await register(own.serverTls)).toMatchObject({ listed: true });
  });

  it('refuses a caller without a certificate', async () => {
    expect(await tlsFailure({})).toMatch(/CERTIFICATE_REQUIRED|ECONNRESET|closed/);
  });

  it("refuses a certificate of another cluster's CA", async () => {
    const tls = { caPem: own.serverTls.caPem, identity: foreign.serverTls.identity };
    await expect(register(tls)).rejects.toMatchObject({ code: 14 });
    const { keyPem: key, certPem: cert } = foreign.serverTls.identity;
    expect(await tlsFailure({ key, cert })).toMatch(/UNKNOWN_CA|ECONNRESET|closed/);
  });

  it('refuses a certificate that its holder signed himself', async () => {
    const tls = { caPem: own.serverTls.caPem, identity: own.certificate };
    await expect(register(tls)).rejects.toMatchObject({ code: 14 });
  });

  it("refuses a load balancer's certificate, where a server's is needed", async () => {
    await expect(register(own.balancerTls)).rejects.toMatchObject({
      code: 7,
      details: "the caller's certificate is not that of a rendezvous",
    });
  });

  it('is not believed by a server whose cluster it is not', async () => {
    const other = await foreign.balancer();
    await expect(register(own.serverTls, other)).rejects.toMatchObject({ code: 14 });
  });
});

describe("the plane on which a load balancer's peers ask", () => {
  const ask = (trust: BalancerTrust, of = first(balancer.peerAddresses)) =>
    fetchServers({ address: of, trust, deadlineMs: 5_000, clock });

  it.each([
    ['another CA', () => ({ kind: 'ca', pem: foreign.balancerTls.caPem }) as const],
    ['another pin', () => ({ kind: 'pin', sha256: new Uint8Array(32) }) as const],
  ])('is not trusted under %s, and the error says what was found', async (_what, trust) => {
    await expect(ask(trust())).rejects.toMatchObject({
      code: 'CHATTY_UNTRUSTED',
      exitCode: 77,
      message: expect.stringMatching(/its cluster's CA is sha256-.{43}, expected was/) as string,
    });
  });

  it('is not the plane on which servers register: peers cannot ask there', async () => {
    const trust = { kind: 'ca', pem: own.balancerTls.caPem } as const;
    await expect(ask(trust, first(balancer.clusterAddresses))).rejects.toMatchObject({
      code: 'CHATTY_TRANSPORT',
    });
  });
});
