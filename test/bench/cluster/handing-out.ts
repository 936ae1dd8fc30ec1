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

  const rates: Record<'ours' | 'bare', number[]> = { ours: [], bare: [] };
  // The first round warms up the code.
  for (let round = 0; round <= rounds; round++) {
    const each = {
      ours: await caller.run('rate', { ...ours, forMs: roundMs }),
      bare: await caller.run('rate', { ...bare, forMs: roundMs }),
    };
    if (round === 0) continue;
    rates.ours.push(each.ours);
    rates.bare.push(each.bare);
  }
  const metric = 'GetServers';
  const [chatty, other] = [percentile(rates.ours, 0.5), percentile(rates.bare, 0.5)];
  return [
    { metric, subject: 'chatty', value: chatty, unit: '/s' },
    { metric, subject: 'bare grpc-js', value: other, unit: '/s' },
    { metric: 'GetServers, × bare grpc-js', subject: 'chatty', value: chatty / other, unit: '×' },
  ];
}
