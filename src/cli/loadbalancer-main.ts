import { systemClock as clock } from '../base/clock.ts';
import { systemRandom as random } from '../base/random.ts';
import { loadBalancerSchema, statusSchema } from '../config/schemas.ts';
import { defineCommand, type Environment, type Io, runProgram } from './program.ts';

const status = defineCommand({
  name: 'status',
  summary: 'Shows the cluster as each load balancer sees it.',
  schema: statusSchema,
  examples: [
    'chatty-loadbalancer status --tls keys --cluster lb1.internal:50051 --cluster lb2.internal:50051',
  ],
  run: async (values, _positionals, context) => {
    const { runStatus } = await import('./status-run.ts');
    return runStatus(values, context);
  },
});

const program = defineCommand({
  name: 'chatty-loadbalancer',
  summary:
    'Tells peers where rendezvous servers are. Servers register with every load balancer, and each ' +
    'load balancer checks every 5 s that they live.',
  schema: loadBalancerSchema,
  examples: [
    'chatty-local pki keys',
    'chatty-loadbalancer --tls keys',
    'chatty-loadbalancer --tls keys --listen 0.0.0.0:50050 --advertise lb1.example.org:50050',
  ],
  subcommands: [status],
  run: async (values, _positionals, context) => {
    const [
      { LoadBalancer },
      { readTlsDirectory },
      { routeGrpcLog },
      { operationsAt, runDaemon },
      { measureLoadBalancer },
    ] = await Promise.all([
      import('../loadbalancer/load-balancer.ts'),
      import('../rpc/tls-files.ts'),
      import('../rpc/grpc-log.ts'),
      import('./daemon.ts'),
      import('./loadbalancer-metrics.ts'),
    ]);
    const { logger } = context;
    routeGrpcLog(logger);
    const balancer = await LoadBalancer.start({
      listen: values.listen,
      clusterListen: values.clusterListen,
      advertise: values.advertise,
      tls: await readTlsDirectory(values.tls ?? '', 'loadbalancer'),
      logger,
      clock,
      random,
    });
    const operations = await operationsAt(values.operationsListen);
    if (operations !== undefined) measureLoadBalancer(operations.metrics, balancer);
    return runDaemon(balancer, context, operations);
  },
});

/** The command `chatty-loadbalancer`. @returns its exit code. */
export function main(argv: readonly string[], env: Environment, io: Io): Promise<number> {
  return runProgram(program, argv, env, io);
}
