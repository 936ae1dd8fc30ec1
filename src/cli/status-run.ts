import { lookup } from 'node:dns/promises';
import { type Address, canonicalIp, formatAddress, parseHostPort } from '../base/address.ts';
import { systemClock as clock } from '../base/clock.ts';
import { ChattyError, ExitCode, reasonOf } from '../base/errors.ts';
import { stripControl } from '../base/name.ts';
import { callFailure } from '../rpc/call-status.ts';
import { clientFor } from '../rpc/cluster-channel.ts';
import {
  OperationsServiceClient,
  type StatusResponse,
} from '../rpc/generated/chatty/v1/operations.ts';
import { OWN_PROTOCOL } from '../rpc/protocol.ts';
import { type ClusterTls, readTlsDirectory } from '../rpc/tls-files.ts';
import { unary } from '../rpc/unary-call.ts';
import { type BalancerView, compareViews, describeStatus, viewFromWire } from './cluster-status.ts';
import type { Context } from './program.ts';

/** A balancer that has not answered by then is shown as silent. */
const ANSWER_WITHIN_MS = 3_000;

interface StatusValues {
  readonly cluster: readonly string[];
  readonly tls: string | undefined;
  readonly json: boolean;
}

/**
 * Asks every load balancer for the cluster as it sees it, and prints it.
 * @returns the exit code: 69 where none of them answers.
 */
export async function runStatus(values: StatusValues, { io, signal }: Context): Promise<number> {
  const tls = await readTlsDirectory(values.tls ?? '', 'loadbalancer');
  const addresses = (await Promise.all(values.cluster.map(addressesOf))).flat();
  const views = await Promise.all(addresses.map((address) => ask(address, tls, signal)));
  const status = compareViews(views);
  const text = values.json
    ? JSON.stringify(status)
    : describeStatus(status).map(stripControl).join('\n');
  io.stdout.write(`${text.trimEnd()}\n`);
  return views.some(({ answered }) => answered) ? ExitCode.done : ExitCode.noServer;
}

/** The address, or all those behind a name written `dns:///NAME:PORT`. */
async function addressesOf(text: string): Promise<Address[]> {
  const dns = text.startsWith('dns:///');
  const address = parseHostPort(dns ? text.slice('dns:///'.length) : text);
  if (address === undefined) throw new ChattyError('CHATTY_USAGE', `${text} is no address`);
  if (!dns) return [address];
  try {
    const found = await lookup(address.host, { all: true });
    return found.map(({ address: host }) => ({ host: canonicalIp(host), port: address.port }));
  } catch (error) {
    const what = `the name ${address.host} has no address (${reasonOf(error)})`;
    throw new ChattyError('CHATTY_CONFIG', what, { cause: error });
  }
}

async function ask(address: Address, tls: ClusterTls, signal: AbortSignal): Promise<BalancerView> {
  const balancer = formatAddress(address);
  const client = clientFor(OperationsServiceClient, address, tls, 'loadbalancer');
  try {
    const response = await unary<StatusResponse>(
      (metadata, options, done) =>
        client.status({ protocol: OWN_PROTOCOL }, metadata, options, done),
      { deadlineMs: ANSWER_WITHIN_MS, clock, signal },
    );
    return viewFromWire(balancer, response);
  } catch (error) {
    signal.throwIfAborted();
    return { balancer, answered: false, reason: callFailure(error) };
  } finally {
    client.close();
  }
}
