import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { LoadBalancer } from '../../src/loadbalancer/load-balancer.ts';
import { channelOptions } from '../../src/rpc/cluster-channel.ts';
import { GetServersRequest } from '../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import { unary } from '../../src/rpc/unary-call.ts';
import { first, TestCluster } from './loadbalancer-support.ts';

const SEED = 20_261_122;
const random = seededRandom(SEED);

let cluster: TestCluster;
let balancer: LoadBalancer;
let address: Address;
beforeAll(async () => {
  cluster = await TestCluster.create();
  balancer = await cluster.balancer();
  address = first(balancer.peerAddresses);
  await (await cluster.server('a')).register(balancer);
});
afterAll(() => cluster.stop());

const stillAnswers = async (): Promise<void> => {
  const { response } = await cluster.ask(balancer);
  expect(response.servers).toHaveLength(1);
};

/** Asks with bytes of one's own in place of a request. */
async function askWith(request: Uint8Array): Promise<{ code?: number; details?: string }> {
  const Client = makeGenericClientConstructor({}, 'Raw');
  const client = new Client(
    formatAddress(address),
    credentials.createSsl(Buffer.from(cluster.balancerTls.caPem)),
    channelOptions('loadbalancer'),
  );
  try {
    await unary<Buffer>(
      (metadata, options, done) =>
        client.makeUnaryRequest(
          '/chatty.v1.LoadBalancerService/GetServers',
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes: Buffer) => bytes,
          request,
          metadata,
          options,
          (error, answer) => done(error, answer ?? Buffer.alloc(0)),
        ),
      { deadlineMs: 5_000, clock: systemClock },
    );
    return {};
  } catch (error) {
    return error as { code: number; details: string };
  } finally {
    client.close();
  }
}

function tlsSocket(): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...address,
      ca: cluster.balancerTls.caPem,
      servername: 'loadbalancer.chatty.internal',
      ALPNProtocols: ['h2'],
    });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

const closed = (socket: NodeJS.EventEmitter): Promise<unknown> =>
  new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', resolve);
  });

describe("a load balancer's plane for peers", () => {
  it('refuses a request that is too long, and goes on', async () => {
    expect(await askWith(random.bytes(5_000))).toMatchObject({ code: 8 });
    await stillAnswers();
  });

  it(`answers requests of random bytes, 200 of them (seed ${SEED}), and goes on`, async () => {
    for (let round = 0; round < 20; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => askWith(random.bytes(random.below(200)))),
      );
      // Some are protobuf by chance; the others are INTERNAL by gRPC's own rule.
      for (const { code = 0 } of answers) expect([0, 9, 13]).toContain(code);
    }
    await stillAnswers();
  });

  it('tells a peer whose version it does not speak which side to update', async () => {
    const protocol = { lowestVersion: 7, highestVersion: 9, features: 0n, software: 'future' };
    const answer = await askWith(GetServersRequest.encode({ protocol }).finish());
    expect(answer).toMatchObject({ code: 9 });
    expect(answer.details).toContain('versions 7 to 9');
    expect(answer.details).toContain('update');
  });

  it('closes a TCP connection that does not speak TLS, and goes on', async () => {
    for (let count = 0; count < 20; count += 1) {
      const socket = connectTcp(address.port, address.host);
      const end = closed(socket);
      socket.write(random.bytes(1 + random.below(2_000)));
      socket.end();
      await end;
    }
    await stillAnswers();
  });

  it('closes a TLS connection that does not speak HTTP/2, and goes on', async () => {
    for (let count = 0; count < 10; count += 1) {
      const socket = await tlsSocket();
      const end = closed(socket);
      socket.resume();
      socket.write(random.bytes(1 + random.below(2_000)));
      await end;
    }
    await stillAnswers();
  });

  it('answers while others hold connections and ask nothing', async () => {
    const idle = await Promise.all(Array.from({ length: 100 }, tlsSocket));
    await stillAnswers();
    for (const socket of idle) {
      socket.on('error', () => undefined);
      socket.destroy();
    }
    await stillAnswers();
  });
});
