/*
 * One rendezvous server in a process of its own, so that it can be killed or made to fall silent.
 * Reads its options from the first argument as JSON; says where it listens in one line of JSON.
 */
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { systemRandom } from '../../src/base/random.ts';
import { RendezvousServer } from '../../src/rendezvous/rendezvous-server.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';

const { tls, loadBalancers } = JSON.parse(process.argv[2] ?? '') as {
  tls: ClusterTls;
  loadBalancers: string[];
};
const server = await RendezvousServer.start({
  listen: [{ host: '127.0.0.1', port: 0 }],
  clusterListen: [{ host: '127.0.0.1', port: 0 }],
  loadBalancers,
  tls,
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
});
await server.ready;
const { id, peerAddresses } = server;
process.stdout.write(`${JSON.stringify({ id, peerAddresses })}\n`);
