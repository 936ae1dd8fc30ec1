import { systemClock as clock } from '../base/clock.ts';
import { systemRandom as random } from '../base/random.ts';
import { rendezvousSchema } from '../config/schemas.ts';
import { defineCommand, type Environment, type Io, runProgram } from './program.ts';

const program = defineCommand({
  name: 'chatty-rendezvous',
  summary:
    'Introduces peers who have named each other, and shares what it knows with the other rendezvous ' +
    'servers. It registers with every load balancer named.',
  schema: rendezvousSchema,
  examples: [
    'chatty-rendezvous --tls keys --loadbalancer 127.0.0.1:50051 --cluster-listen 0.0.0.0:50052',
    'chatty-rendezvous --tls keys --loadbalancer dns:///balancers.example.org:50051',
  ],
  run: async (values, _positionals, context) => {
    const [
      { RendezvousServer },
      { startStallWatchdog },
      { readTlsDirectory },
      { routeGrpcLog },
      { runDaemon },
    ] = await Promise.all([
      import('../rendezvous/rendezvous-server.ts'),
      import('../quic/index.ts'),
      import('../rpc/tls-files.ts'),
      import('../rpc/grpc-log.ts'),
      import('./daemon.ts'),
    ]);
    const { logger } = context;
    routeGrpcLog(logger);
    startStallWatchdog();
    const server = await RendezvousServer.start({
      listen: values.listen,
      clusterListen: values.clusterListen,
      advertise: given(values.advertise),
      clusterAdvertise: given(values.clusterAdvertise),
      loadBalancers: values.loadbalancer,
      tls: await readTlsDirectory(values.tls ?? '', 'rendezvous'),
      logger,
      clock,
      random,
    });
    const { peerAddresses, clusterAddresses, ready } = server;
    const stop = (): Promise<void> => server.drain();
    return runDaemon({ peerAddresses, clusterAddresses, ready, stop }, context);
  },
});

function given<Value>(values: readonly Value[]): readonly Value[] | undefined {
  return values.length === 0 ? undefined : values;
}

/** The command `chatty-rendezvous`. @returns its exit code. */
export function main(argv: readonly string[], env: Environment, io: Io): Promise<number> {
  return runProgram(program, argv, env, io);
}
