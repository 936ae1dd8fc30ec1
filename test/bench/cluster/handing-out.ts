import { parseHostPort } from '../../../src/base/address.ts';
import {
  GetServersRequest,
  GetServersResponse,
} from '../../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import { OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';
import type { Row } from '../report.ts';
import { percentile, Worker } from '../worker.ts';
import { Cluster } from '../product/cluster.ts';
import type { GrpcTasks } from '../product/grpc-server.ts';
import type { ClusterKeys } from '../product/keys.ts';
import type { CallerTasks } from './caller.ts';

const CALLER = new URL('./caller.ts', import.meta.url);
const GRPC_SERVER = new URL('../product/grpc-server.ts', import.meta.url);
const SERVERS = 3;
const WARM_UP_ROUNDS = 2;

/**
 * `GetServers` a second, beside a bare grpc-js call that answers with the very same bytes; they take
 * turns, so that both find the machine the same.
 */
export async function measureHandingOut(
  keys: ClusterKeys,
  { rounds, roundMs }: { readonly rounds: number; readonly roundMs: number },
): Promise<readonly Row[]> {
  await using cluster = await Cluster.start(keys, 1, SERVERS);
  await using bareServer = new Worker<GrpcTasks>(GRPC_SERVER);
  await using caller = new Worker<CallerTasks>(CALLER);
  const port = parseHostPort(cluster.loadBalancers[0] ?? '')?.port ?? 0;
  const request = Buffer.from(GetServersRequest.encode({ protocol: OWN_PROTOCOL }).finish());
  const { caPem } = keys.loadbalancer;
  const path = '/chatty.v1.LoadBalancerService/GetServers';
  const ours = { port, caPem, path, request: request.toString('base64') };
  const answer = await caller.run('ask', ours);
  const { servers } = GetServersResponse.decode(Buffer.from(answer, 'base64'));
  if (servers.length !== SERVERS) throw new Error(`${servers.length} servers were handed out`);
  const serving = { tls: keys.loadbalancer, mutual: false, answer };
  const bare = { ...ours, port: await bareServer.run('serve', serving), path: '/bench/echo' };

  const [balancer] = cluster.balancers;
  if (balancer === undefined) throw new Error('there is no balancer');
  const [chatty, other] = [new Asked(), new Asked()];
  for (let round = 0; round < WARM_UP_ROUNDS + rounds; round++) {
    for (const [asked, cpuMs, question] of [
      [chatty, () => balancer.run('cpuMs', undefined), ours],
      [other, () => bareServer.run('cpuMs', undefined), bare],
    ] as const) {
      const cpuBefore = await cpuMs();
      const { answers, tookMs } = await caller.run('askFor', { ...question, forMs: roundMs });
      if (round >= WARM_UP_ROUNDS) asked.add(answers, tookMs, (await cpuMs()) - cpuBefore);
    }
  }
  const row = (metric: string, subject: string, value: number, unit: string): Row => ({
    ...{ metric, subject, value, unit },
  });
  const [cpu, otherCpu] = [chatty.cpuMsPerCall, other.cpuMsPerCall];
  return [
    row('GetServers', 'chatty', chatty.rate, '/s'),
    row('GetServers', 'bare grpc-js', other.rate, '/s'),
    row('GetServers, × bare grpc-js', 'chatty', chatty.rate / other.rate, '×'),
    row('GetServers, CPU a call', 'chatty', cpu * 1000, 'µs'),
    row('GetServers, CPU a call', 'bare grpc-js', otherCpu * 1000, 'µs'),
    row('GetServers a CPU second, × bare grpc-js', 'chatty', otherCpu / cpu, '×'),
  ];
}

/** What one server was asked in all rounds. */
class Asked {
  readonly #rates: number[] = [];
  #answers = 0;
  #cpuMs = 0;

  add(answers: number, tookMs: number, cpuMs: number): void {
    this.#rates.push((answers / tookMs) * 1000);
    this.#answers += answers;
    this.#cpuMs += cpuMs;
  }

  /** Answers a second, in the median round. */
  get rate(): number {
    return percentile(this.#rates, 0.5);
  }

  /** The server's, which others on this machine change less. */
  get cpuMsPerCall(): number {
    return this.#cpuMs / this.#answers;
  }
}
