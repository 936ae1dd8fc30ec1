import { type Address, formatAddress } from '../base/address.ts';
import { ExitCode } from '../base/errors.ts';
import type { Metrics } from './metrics.ts';
import { OperationsServer } from './operations-server.ts';
import type { Context } from './program.ts';

interface Daemon {
  readonly peerAddresses: readonly Address[];
  readonly clusterAddresses: readonly Address[];
  /** Resolves when it serves; absent: it does already. */
  readonly ready?: Promise<void>;
  /** Ends it without anybody noticing, as far as that can be. */
  stop(): Promise<void>;
}

/** What operators' tools are told of a daemon, and where. */
interface Operations {
  readonly listen: Address;
  readonly metrics: Metrics;
}

/** What a daemon needs to answer operators. @returns undefined where that is off: it costs nothing. */
export async function operationsAt(listen: Address | 'off'): Promise<Operations | undefined> {
  if (listen === 'off') return undefined;
  const { Metrics } = await import('./metrics.ts');
  return { listen, metrics: new Metrics() };
}

/**
 * Says `{"event":"ready",…}` on stdout once the daemon serves, and ends it when a signal says so.
 * @returns the exit code.
 */
export async function runDaemon(
  daemon: Daemon,
  context: Context,
  operations: Operations | undefined,
): Promise<number> {
  const { io, logger, signal } = context;
  const ended = new Promise<'ended'>((resolve) => {
    if (signal.aborted) resolve('ended');
    signal.addEventListener('abort', () => resolve('ended'), { once: true });
  });
  const addresses = {
    peers: daemon.peerAddresses.map(formatAddress)[0],
    cluster: daemon.clusterAddresses.map(formatAddress)[0],
  };
  const server =
    operations && (await OperationsServer.listen(operations.listen, operations.metrics, logger));
  logger.info('listening', {
    ...addresses,
    operations: server?.address && formatAddress(server.address),
  });
  const first = await Promise.race([ended, daemon.ready ?? Promise.resolve()]);
  if (first !== 'ended') {
    if (server !== undefined) server.ready = true;
    io.stdout.write(`${JSON.stringify({ event: 'ready', ...addresses })}\n`);
    logger.info('ready', addresses);
    await ended;
  }
  logger.info('stopping', { reason: (signal.reason as Error).message });
  if (server !== undefined) server.ready = false;
  await daemon.stop();
  server?.close();
  logger.info('stopped');
  return ExitCode.done;
}
