import { type Address, formatAddress } from '../base/address.ts';
import { ExitCode } from '../base/errors.ts';
import type { Context } from './program.ts';

interface Daemon {
  readonly peerAddresses: readonly Address[];
  readonly clusterAddresses: readonly Address[];
  /** Resolves when it serves; absent: it does already. */
  readonly ready?: Promise<void>;
  /** Ends it without anybody noticing, as far as that can be. */
  stop(): Promise<void>;
}

/**
 * Says `{"event":"ready",…}` on stdout once the daemon serves, and ends it when a signal says so.
 * @returns the exit code.
 */
export async function runDaemon(daemon: Daemon, context: Context): Promise<number> {
  const { io, logger, signal } = context;
  const ended = new Promise<'ended'>((resolve) => {
    if (signal.aborted) resolve('ended');
    signal.addEventListener('abort', () => resolve('ended'), { once: true });
  });
  const addresses = {
    peers: daemon.peerAddresses.map(formatAddress)[0],
    cluster: daemon.clusterAddresses.map(formatAddress)[0],
  };
  logger.info('listening', addresses);
  const first = await Promise.race([ended, daemon.ready ?? Promise.resolve()]);
  if (first !== 'ended') {
    io.stdout.write(`${JSON.stringify({ event: 'ready', ...addresses })}\n`);
    logger.info('ready', addresses);
    await ended;
  }
  logger.info('stopping', { reason: (signal.reason as Error).message });
  await daemon.stop();
  logger.info('stopped');
  return ExitCode.done;
}
