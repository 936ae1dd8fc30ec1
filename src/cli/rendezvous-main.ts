import { fileURLToPath } from 'node:url';
import { systemClock as clock } from '../base/clock.ts';
import { systemRandom as random } from '../base/random.ts';
import { rendezvousSchema } from '../config/schemas.ts';
import { environmentName, type ValuesOf } from '../config/setting.ts';
import type { RelayLimits } from '../rendezvous/relay-budget.ts';
import { type Context, defineCommand, type Environment, type Io, runProgram } from './program.ts';

const program = defineCommand({
  name: 'chatty-rendezvous',
  summary:
    'Introduces peers who have named each other, and shares what it knows with the other rendezvous ' +
    'servers. It registers with every load balancer named.',
  schema: rendezvousSchema,
  examples: [
    'chatty-rendezvous --tls keys --loadbalancer 127.0.0.1:50051 --cluster-listen 0.0.0.0:50052',
    'chatty-rendezvous --tls keys --loadbalancer lb.internal:50051 --processes auto',
    'chatty-rendezvous --tls keys --loadbalancer dns:///balancers.example.org:50051',
  ],
  run: (values, _positionals, context) =>
    values.processes === 1 ? serve(values, context) : serveMany(values, context),
});

type Values = ValuesOf<typeof rendezvousSchema>;

/** Runs one server, in this process. */
async function serve(values: Values, context: Context): Promise<number> {
  const [
    { RendezvousServer },
    { startStallWatchdog },
    { readTlsDirectory },
    { routeGrpcLog },
    { operationsAt, runDaemon },
    { measureRendezvous, observeRendezvous },
    { supervision },
  ] = await Promise.all([
    import('../rendezvous/rendezvous-server.ts'),
    import('../quic/index.ts'),
    import('../rpc/tls-files.ts'),
    import('../rpc/grpc-log.ts'),
    import('./daemon.ts'),
    import('./rendezvous-metrics.ts'),
    import('./supervised.ts'),
  ]);
  const { logger } = context;
  const supervisor = supervision();
  const signal =
    supervisor === undefined ? context.signal : AbortSignal.any([context.signal, supervisor.stop]);
  routeGrpcLog(logger);
  startStallWatchdog({ maxRssBytes: values.maxMemory });
  const operations = await operationsAt(values.operationsListen);
  const { maxPeers, peersPerSource, registrationsPerMinute, namesPerKey, maxRecords } = values;
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
    settings: {
      ...{ maxPeers, peersPerSource, registrationsPerMinute, namesPerKey, maxRecords },
      relay: values.relay ? relayLimits(values) : undefined,
    },
    observer: operations && observeRendezvous(operations.metrics),
  });
  if (operations !== undefined) measureRendezvous(operations.metrics, server);
  const { peerAddresses, clusterAddresses, ready } = server;
  void ready.then(() => supervisor?.ready());
  const stop = (): Promise<void> => server.drain(supervisor?.gone);
  return runDaemon(
    { peerAddresses, clusterAddresses, ready, stop },
    { ...context, signal },
    operations,
  );
}

function relayLimits(values: Values): RelayLimits {
  return {
    pairBytesPerSecond: values.relayPairBytesPerSecond,
    pairBytes: values.relayPairBytes,
    pairTimeMs: values.relayPairTime,
    bytesPerSecond: values.relayBytesPerSecond,
    pairs: values.relayPairs,
  };
}

/** Runs several servers, each in a process of its own under this one. */
async function serveMany(values: Values, { env, logger, signal }: Context): Promise<number> {
  const [{ supervise }, { workerValues }, { argumentsFor }, { availableParallelism }] =
    await Promise.all([
      import('./supervisor.ts'),
      import('./worker-ports.ts'),
      import('../config/arguments.ts'),
      import('node:os'),
    ]);
  const { processes } = values;
  const count = processes === 'auto' ? availableParallelism() : processes;
  const workers = Array.from({ length: count }, (_, index) =>
    argumentsFor(rendezvousSchema, workerValues(values, index)),
  );
  const script = fileURLToPath(new URL('../../bin/chatty-rendezvous', import.meta.url));
  // What the file said is among the arguments.
  const workerEnv = { ...env, [environmentName('config')]: undefined };
  return supervise({ script, workers, env: workerEnv, clock, random, logger, signal });
}

function given<Value>(values: readonly Value[]): readonly Value[] | undefined {
  return values.length === 0 ? undefined : values;
}

/** The command `chatty-rendezvous`. @returns its exit code. */
export function main(argv: readonly string[], env: Environment, io: Io): Promise<number> {
  return runProgram(program, argv, env, io);
}
