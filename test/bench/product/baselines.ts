import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Client, credentials } from '@grpc/grpc-js';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import { RENDEZVOUS_NAME } from '../../../src/base/role-names.ts';
import { handshakeRate } from '../quic/measure.ts';
import { nodeTls } from '../quic/node-tls.ts';
import type { Row } from '../report.ts';
import { percentile, Worker } from '../worker.ts';
import type { GrpcTasks } from './grpc-server.ts';
import type { ClusterKeys } from './keys.ts';

const TLS_SERVER = new URL('../quic/server.ts', import.meta.url);
const GRPC_SERVER = new URL('./grpc-server.ts', import.meta.url);
const MESSAGE = Buffer.alloc(100, 'x');
const WARM_UP = 20;

/** What the product's figures are held against; each knows the address to begin with. */
export async function measureBaselines(keys: ClusterKeys, runs: number): Promise<readonly Row[]> {
  return [...(await measureTls(runs)), ...(await measureGrpc(keys, runs))];
}

/** A connection of `node:tls` with both keys proven, and a message there and back on it. */
async function measureTls(runs: number): Promise<readonly Row[]> {
  const server = fork(TLS_SERVER, ['node:tls'], { execArgv: ['--import', 'tsx'] });
  const [{ port }] = (await once(server, 'message')) as [{ port: number }];
  const client = await nodeTls.client(await createSelfSigned('client.invalid'), port);
  const times: number[] = [];
  for (let run = 0; run < runs + WARM_UP; run++) {
    const startedAt = performance.now();
    const session = await client.connect();
    const channel = await session.open();
    const back = new Promise<void>((resolve) => {
      channel.onData(() => resolve());
    });
    // `e`: what follows is sent back; see server.ts.
    channel.write(Buffer.concat([Buffer.from('e'), Buffer.alloc(8), MESSAGE]));
    await back;
    if (run >= WARM_UP) times.push(performance.now() - startedAt);
    session.close();
  }
  const joins = await handshakeRate(client, runs * 10);
  server.kill();
  const subject = 'node:tls';
  return [
    { metric: 'connect() to delivered, p50', subject, value: percentile(times, 0.5), unit: 'ms' },
    { metric: 'connect() to delivered, p95', subject, value: percentile(times, 0.95), unit: 'ms' },
    { metric: 'joins', subject, value: joins, unit: '/s' },
  ];
}

/** One call of bare grpc-js, mutual TLS, on a connection that stands. */
async function measureGrpc(keys: ClusterKeys, runs: number): Promise<readonly Row[]> {
  await using server = new Worker<GrpcTasks>(GRPC_SERVER);
  const port = await server.run('serve', { tls: keys.rendezvous, mutual: true });
  const { caPem, identity } = keys.rendezvous;
  const client = new Client(
    `127.0.0.1:${port}`,
    credentials.createSsl(
      Buffer.from(caPem),
      Buffer.from(identity.keyPem),
      Buffer.from(identity.certPem),
    ),
    { 'grpc.ssl_target_name_override': RENDEZVOUS_NAME },
  );
  const pass = (bytes: Buffer): Buffer => bytes;
  const call = (): Promise<void> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest('/bench/echo', pass, pass, MESSAGE, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  const times: number[] = [];
  for (let run = 0; run < runs + WARM_UP; run++) {
    const startedAt = performance.now();
    await call();
    if (run >= WARM_UP) times.push(performance.now() - startedAt);
  }
  client.close();
  return [0.5, 0.99].map((share) => ({
    metric: `match p${share * 100}, wish to push at the peer`,
    subject: 'grpc-js, one call',
    value: percentile(times, share),
    unit: 'ms',
  }));
}
