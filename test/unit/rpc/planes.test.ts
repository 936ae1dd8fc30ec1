import { connect, createServer, type Server as TcpServer } from 'node:net';
import { once } from 'node:events';
import { ServerCredentials, type ServerUnaryCall, Server as GrpcJsServer } from '@grpc/grpc-js';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../../src/base/address.ts';
import { createClusterCa, issueCertificate } from '../../../src/base/certificate.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { ChattyError } from '../../../src/base/errors.ts';
import { certificateFingerprint, formatFingerprint } from '../../../src/base/identity.ts';
import { X509Certificate } from 'node:crypto';
import { fetchServers, type ServersQuestion } from '../../../src/rpc/balancer-client.ts';
import { LoadBalancerServiceService } from '../../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import { GrpcServer } from '../../../src/rpc/grpc-server.ts';
import { HealthClient, HealthService } from '../../../src/rpc/health.ts';
import type { ClusterTls } from '../../../src/rpc/tls-files.ts';
import { unaryHandler } from '../../../src/rpc/unary-handler.ts';

const clock = systemClock;
const LOOPBACK = { host: '127.0.0.1', port: 0 };

async function cluster(): Promise<{ balancer: ClusterTls; server: ClusterTls; pin: Uint8Array }> {
  const ca = await createClusterCa();
  const issue = async (name: string): Promise<ClusterTls> => ({
    caPem: ca.certPem,
    identity: await issueCertificate(ca, name),
  });
  return {
    balancer: await issue('loadbalancer.chatty.internal'),
    server: await issue('rendezvous.chatty.internal'),
    pin: ca.fingerprint,
  };
}

let own: Awaited<ReturnType<typeof cluster>>;
let foreign: Awaited<ReturnType<typeof cluster>>;
beforeAll(async () => {
  own = await cluster();
  foreign = await cluster();
});

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function balancer(tls: ClusterTls, answer?: () => never): Promise<Address> {
  const server = await GrpcServer.listen({
    listen: [LOOPBACK],
    tls,
    callers: 'anyone',
    maxRequestBytes: 1024,
    addServices: (grpc) => {
      grpc.addService(LoadBalancerServiceService, {
        getServers: unaryHandler(
          answer ?? (() => ({ servers: [], stunAddresses: [], loadBalancers: ['lb:1'] })),
          () => undefined,
        ),
      });
    },
  });
  stops.push(() => server.stop(100, clock));
  return server.addresses[0] as Address;
}

const question = (address: ServersQuestion['address'], trust: ServersQuestion['trust']) =>
  fetchServers({ address, trust, deadlineMs: 5_000, clock });

async function failureOf(promise: Promise<unknown>): Promise<ChattyError> {
  try {
    await promise;
  } catch (error) {
    expect(error).toBeInstanceOf(ChattyError);
    return error as ChattyError;
  }
  throw new Error('it succeeded');
}

describe("a peer's question to a load balancer", () => {
  it.each(['ca', 'pin', 'first-use'] as const)('is answered under trust by %s', async (kind) => {
    const address = await balancer(own.balancer);
    const trust =
      kind === 'ca'
        ? { kind, pem: own.balancer.caPem }
        : kind === 'pin'
          ? { kind, sha256: own.pin }
          : { kind };
    const answer = await question(address, trust);
    expect(answer.response.loadBalancers).toEqual(['lb:1']);
    expect(answer.caFingerprint).toEqual(own.pin);
    expect(certificateFingerprint(new X509Certificate(answer.caPem))).toEqual(own.pin);
    expect(answer.answeredBy).toEqual(address);
  });

  it('tries every address of a host name', async () => {
    // The name may have ::1 as well, where nothing listens.
    const { port } = await balancer(own.balancer);
    const answer = await question({ host: 'localhost', port }, { kind: 'pin', sha256: own.pin });
    expect(answer.answeredBy).toEqual({ host: '127.0.0.1', port });
  });

  it.each(['ca', 'pin'] as const)('is not asked under the wrong %s', async (kind) => {
    const address = await balancer(foreign.balancer);
    const error = await failureOf(
      question(
        address,
        kind === 'ca' ? { kind, pem: own.balancer.caPem } : { kind, sha256: own.pin },
      ),
    );
    expect(error).toMatchObject({ code: 'CHATTY_UNTRUSTED', exitCode: 77 });
    expect(error.message).toContain(formatAddress(address));
    expect(error.message).toContain(`is ${formatFingerprint(foreign.pin)}`);
    expect(error.message).toContain(`expected was ${formatFingerprint(own.pin)}`);
  });

  it.each(['ca', 'pin', 'first-use'] as const)(
    "is not put to a rendezvous server's certificate under trust by %s",
    async (kind) => {
      const address = await balancer(own.server);
      const trust =
        kind === 'ca'
          ? { kind, pem: own.balancer.caPem }
          : kind === 'pin'
            ? { kind, sha256: own.pin }
            : { kind };
      const error = await failureOf(question(address, trust));
      expect(error.code).toBe('CHATTY_UNTRUSTED');
      expect(error.message).toContain("not a load balancer's");
    },
  );

  it('does not trust a chain that only repeats the pinned CA without being signed by it', async () => {
    const impostor: ClusterTls = {
      caPem: foreign.balancer.caPem,
      identity: {
        ...foreign.balancer.identity,
        certPem:
          (foreign.balancer.identity.certPem.split(/(?<=END CERTIFICATE-----\n)/)[0] ?? '') +
          own.balancer.caPem,
      },
    };
    const address = await balancer(impostor);
    const error = await failureOf(question(address, { kind: 'pin', sha256: own.pin }));
    expect(error.code).toBe('CHATTY_UNTRUSTED');
  });

  it("passes on the balancer's own sentence when it has no server", async () => {
    const address = await balancer(own.balancer, () => {
      throw new ChattyError('CHATTY_NO_SERVER', 'no rendezvous server is up', { hint: 'Wait.' });
    });
    const error = await failureOf(question(address, { kind: 'first-use' }));
    expect(error).toMatchObject({ code: 'CHATTY_NO_SERVER', hint: 'Wait.' });
    expect(error.message).toBe(
      `the load balancer ${formatAddress(address)} says: no rendezvous server is up`,
    );
  });

  it.each(['ca', 'first-use'] as const)('names a refused connection (%s)', async (kind) => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as { port: number };
    closed.close();
    await once(closed, 'close');
    const error = await failureOf(
      question(
        { host: '127.0.0.1', port },
        kind === 'ca' ? { kind, pem: own.balancer.caPem } : { kind },
      ),
    );
    expect(error).toMatchObject({ code: 'CHATTY_TRANSPORT', exitCode: 69 });
    expect(error.message).toBe(
      `cannot ask the load balancer 127.0.0.1:${port}: connection refused`,
    );
  });

  it.each(['ca', 'first-use'] as const)('gives up on a silent address (%s)', async (kind) => {
    const silent: TcpServer = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    stops.push(() => silent.close());
    const { port } = silent.address() as { port: number };
    const error = await failureOf(
      fetchServers({
        address: { host: '127.0.0.1', port },
        trust: kind === 'ca' ? { kind, pem: own.balancer.caPem } : { kind },
        deadlineMs: 60,
        clock,
      }),
    );
    expect(error.code).toBe('CHATTY_TRANSPORT');
    expect(error.message).toContain(`127.0.0.1:${port}: timed out`);
  });

  it('ends with the reason of the signal that aborts it', async () => {
    const address = await balancer(own.balancer);
    const signal = AbortSignal.abort(new Error('changed my mind'));
    await expect(
      fetchServers({ address, trust: { kind: 'first-use' }, deadlineMs: 5_000, clock, signal }),
    ).rejects.toThrow('changed my mind');
  });
});

async function clusterPlane(tls: ClusterTls, callers: ('loadbalancer' | 'rendezvous')[]) {
  const health = new HealthService();
  const server = await GrpcServer.listen({
    listen: [LOOPBACK],
    tls,
    callers,
    maxRequestBytes: 1024,
    addServices: (grpc) => health.addTo(grpc),
  });
  stops.push(() => server.stop(100, clock));
  return { health, address: server.addresses[0] as Address };
}

async function check(address: Address, tls: ClusterTls): Promise<string> {
  const client = new HealthClient(address, tls);
  stops.push(() => client.close());
  return client.check({ deadlineMs: 3_000, clock });
}

describe('a cluster plane', () => {
  it('answers callers of the roles it was told, and tells its health', async () => {
    const { address, health } = await clusterPlane(own.server, ['loadbalancer']);
    expect(await check(address, own.balancer)).toBe('not-serving');
    health.set('serving');
    expect(await check(address, own.balancer)).toBe('serving');
  });

  it('refuses a certificate of the right cluster and the wrong role', async () => {
    const { address } = await clusterPlane(own.server, ['loadbalancer']);
    await expect(check(address, own.server)).rejects.toThrow('not that of a loadbalancer');
  });

  it("refuses a certificate of another cluster's CA", async () => {
    const { address } = await clusterPlane(own.server, ['loadbalancer']);
    const tls = { caPem: own.server.caPem, identity: foreign.balancer.identity };
    await expect(check(address, tls)).rejects.toMatchObject({ code: 14 });
  });

  it('refuses a caller without a certificate', async () => {
    const { address } = await clusterPlane(own.server, ['loadbalancer']);
    const { connect: tlsConnect } = await import('node:tls');
    const socket = tlsConnect({
      ...address,
      ca: own.server.caPem,
      servername: 'rendezvous.chatty.internal',
      ALPNProtocols: ['h2'],
    });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toMatch(/CERTIFICATE_REQUIRED|ECONNRESET/);
  });

  it('is not believed where its certificate is of another CA or another role', async () => {
    const other = await clusterPlane(foreign.server, ['loadbalancer']);
    await expect(check(other.address, own.balancer)).rejects.toMatchObject({ code: 14 });
    const wrongRole = await clusterPlane(own.balancer, ['loadbalancer']);
    await expect(check(wrongRole.address, own.balancer)).rejects.toMatchObject({ code: 14 });
  });

  it('survives bytes that are no TLS, and goes on answering', async () => {
    const { address } = await clusterPlane(own.server, ['loadbalancer']);
    const socket = connect(address.port, address.host);
    socket.on('error', () => undefined);
    socket.end('GET / HTTP/1.1\r\n\r\n');
    await once(socket, 'close');
    expect(await check(address, own.balancer)).toBe('not-serving');
  });
});

describe('a call', () => {
  it('that is aborted is cancelled, and the other side knows', async () => {
    const abort = new AbortController();
    let cancelled: (() => void) | undefined;
    const told = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const server = await GrpcServer.listen({
      listen: [LOOPBACK],
      tls: own.balancer,
      callers: 'anyone',
      maxRequestBytes: 1024,
      addServices: (grpc) => {
        grpc.addService(LoadBalancerServiceService, {
          getServers: (call: ServerUnaryCall<unknown, unknown>) => {
            call.on('cancelled', () => cancelled?.());
            abort.abort(new Error('changed my mind'));
          },
        });
      },
    });
    stops.push(() => server.stop(100, clock));
    const address = server.addresses[0] as Address;
    const trust = { kind: 'ca', pem: own.balancer.caPem } as const;
    const { signal } = abort;
    await expect(
      fetchServers({ address, trust, deadlineMs: 60_000, clock, signal }),
    ).rejects.toThrow('changed my mind');
    await told;
  });
});

describe('listening', () => {
  it('says that a port is in use, and what to try', async () => {
    const taken = new GrpcJsServer();
    const port = await new Promise<number>((resolve, reject) => {
      taken.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    stops.push(() => taken.forceShutdown());
    const error = await failureOf(
      GrpcServer.listen({
        listen: [{ host: '127.0.0.1', port }],
        tls: own.balancer,
        callers: 'anyone',
        maxRequestBytes: 1024,
        addServices: () => undefined,
      }),
    );
    expect(error).toMatchObject({ code: 'CHATTY_PORT_IN_USE', exitCode: 78 });
    expect(error.message).toBe(`cannot listen on 127.0.0.1:${port}: the port is in use`);
    expect(error.hint).toContain('port 0');
  });

  it('says that an address is not of this computer', async () => {
    const error = await failureOf(
      GrpcServer.listen({
        listen: [{ host: '192.0.2.1', port: 0 }],
        tls: own.balancer,
        callers: 'anyone',
        maxRequestBytes: 1024,
        addServices: () => undefined,
      }),
    );
    expect(error.code).toBe('CHATTY_CONFIG');
    expect(error.message).toContain('192.0.2.1:0: this computer does not have that address');
  });
});
