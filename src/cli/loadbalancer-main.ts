import { formatAddress } from '../base/address.ts';
import { ExitCode } from '../base/errors.ts';
import { loadBalancerSchema } from '../config/schemas.ts';
import { defineCommand, type Environment, type Io, runProgram } from './program.ts';

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
  run: async (values, _positionals, { io, logger, signal }) => {
    const [{ LoadBalancer }, { readTlsDirectory }, { systemClock }, { systemRandom }, grpc] =
      await Promise.all([
        import('../loadbalancer/load-balancer.ts'),
        import('../rpc/tls-files.ts'),
        import('../base/clock.ts'),
        import('../base/random.ts'),
        import('../rpc/grpc-log.ts'),
      ]);
    grpc.routeGrpcLog(logger);
    const balancer = await LoadBalancer.start({
      listen: values.listen,
      clusterListen: values.clusterListen,
      advertise: values.advertise,
      tls: await readTlsDirectory(values.tls ?? '', 'loadbalancer'),
      clock: systemClock,
      random: systemRandom,
      logger,
    });
    const ready = {
      event: 'ready',
      peers: balancer.peerAddresses.map(formatAddress)[0],
      cluster: balancer.clusterAddresses.map(formatAddress)[0],
    };
    io.stdout.write(`${JSON.stringify(ready)}\n`);
    logger.info('ready', { peers: ready.peers, cluster: ready.cluster });
    if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    }
    logger.info('stopping', { reason: String(signal.reason) });
    await balancer.stop();
    return ExitCode.done;
  },
});

/** The command `chatty-loadbalancer`. @returns its exit code. */
export function main(argv: readonly string[], env: Environment, io: Io): Promise<number> {
  return runProgram(program, argv, env, io);
}
