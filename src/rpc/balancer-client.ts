import type { X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { credentials } from '@grpc/grpc-js';
import { type Address, canonicalIp, formatAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, type ErrorCode, reasonOf } from '../base/errors.ts';
import { certificateFingerprint } from '../base/identity.ts';
import type { BalancerAddress } from '../base/balancer-address.ts';
import {
  authoritiesOf,
  type BalancerTrust,
  transportError,
  verifiedRoot,
} from './balancer-trust.ts';
import { answeredError, callFailure } from './call-status.ts';
import { channelOptions } from './cluster-channel.ts';
import { firstSuccess } from './first-success.ts';
import {
  type GetServersResponse,
  LoadBalancerServiceClient,
} from './generated/chatty/v1/loadbalancer.ts';
import { OWN_PROTOCOL } from './protocol.ts';
import { unary } from './unary-call.ts';

export interface ServersQuestion {
  readonly address: BalancerAddress;
  readonly trust: BalancerTrust;
  /** All of it: name resolution, connections, the answer. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

export interface ServersAnswer {
  readonly response: GetServersResponse;
  /** The authority that the answer was verified under; next time, `{ kind: 'ca' }` saves a round trip. */
  readonly caPem: string;
  /** SHA-256 of its SubjectPublicKeyInfo: what a pin names. */
  readonly caFingerprint: Uint8Array;
  /** Which of the name's addresses answered. */
  readonly answeredBy: Address;
}

/** A slow address delays the next one by this much (RFC 8305 §5 recommends 250 ms). */
const STAGGER_MS = 250;
/** More addresses than this behind one name are not tried. */
const MAX_ADDRESSES = 8;

/**
 * Asks a load balancer for rendezvous servers, at each address behind its name until one answers.
 * @throws ChattyError that names the address and why: CHATTY_NO_SERVER (the balancer has none; its
 * own sentence), CHATTY_UNTRUSTED (what was expected, what was found), CHATTY_TRANSPORT (refused,
 * timed out, no such name …); or the signal's reason.
 */
export async function fetchServers(question: ServersQuestion): Promise<ServersAnswer> {
  const { clock, deadlineMs, signal: outer } = question;
  const expired = new AbortController();
  const timer = clock.setTimer(deadlineMs, () => {
    expired.abort(new Error(`timed out after ${deadlineMs} ms`));
  });
  const signal = outer ? AbortSignal.any([outer, expired.signal]) : expired.signal;
  try {
    const addresses = await resolve(question.address, signal);
    return await firstSuccess(addresses, (address, each) => ask(address, question, each), {
      staggerMs: STAGGER_MS,
      clock,
      signal,
    });
  } catch (error) {
    outer?.throwIfAborted();
    throw error instanceof AggregateError ? joined(error.errors as ChattyError[]) : error;
  } finally {
    timer.cancel();
  }
}

async function resolve(address: BalancerAddress, signal: AbortSignal): Promise<Address[]> {
  try {
    const found = await raceAbort(lookup(address.host, { all: true, verbatim: true }), signal);
    return found
      .slice(0, MAX_ADDRESSES)
      .map((entry) => ({ host: canonicalIp(entry.address), port: address.port }));
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOTFOUND';
    throw transportError(
      formatAddress(address),
      missing ? 'there is no such name' : reasonOf(error),
      error,
    );
  }
}

async function ask(
  address: Address,
  question: ServersQuestion,
  signal: AbortSignal,
): Promise<ServersAnswer> {
  const { trust } = question;
  if (trust.kind !== 'ca') {
    const root = await verifiedRoot(address, trust, signal);
    return call(address, root, root.toString(), question, signal);
  }
  const [authority] = authoritiesOf(trust.pem);
  try {
    return await call(address, authority, trust.pem, question, signal);
  } catch (error) {
    // A wrong certificate is an obscure sentence from TLS: look, and say what is wrong with it.
    if (error instanceof ChattyError && error.code === 'CHATTY_TRANSPORT' && !signal.aborted) {
      await verifiedRoot(address, trust, signal);
    }
    throw error;
  }
}

async function call(
  address: Address,
  root: X509Certificate,
  rootsPem: string,
  question: ServersQuestion,
  signal: AbortSignal,
): Promise<ServersAnswer> {
  const place = formatAddress(address);
  const client = new LoadBalancerServiceClient(
    place,
    credentials.createSsl(Buffer.from(rootsPem)),
    channelOptions('loadbalancer'),
  );
  try {
    const response = await unary<GetServersResponse>(
      (metadata, options, done) =>
        client.getServers({ protocol: OWN_PROTOCOL }, metadata, options, done),
      { deadlineMs: question.deadlineMs, clock: question.clock, signal },
    );
    const caFingerprint = certificateFingerprint(root);
    return { response, caPem: rootsPem, caFingerprint, answeredBy: address };
  } catch (error) {
    const answered = answeredError(error);
    if (answered === undefined) throw transportError(place, callFailure(error), error);
    throw new ChattyError(answered.code, `the load balancer ${place} says: ${answered.message}`, {
      cause: error,
      ...(answered.hint === undefined ? {} : { hint: answered.hint }),
    });
  } finally {
    client.close();
  }
}

/** Of several addresses' errors, one: what was answered counts for more than what was not. */
function joined(errors: readonly ChattyError[]): ChattyError {
  const [first] = errors;
  if (first === undefined) {
    return new ChattyError('CHATTY_TRANSPORT', 'the name of the load balancer has no address');
  }
  const weight = (code: ErrorCode): number =>
    code === 'CHATTY_TRANSPORT' ? 2 : code === 'CHATTY_UNTRUSTED' ? 1 : 0;
  const heaviest = errors.reduce((a, b) => (weight(b.code) < weight(a.code) ? b : a), first);
  const message = errors.map((error) => error.message).join('; ');
  return new ChattyError(heaviest.code, message, {
    cause: errors.length === 1 ? heaviest.cause : new AggregateError(errors),
    ...(heaviest.hint === undefined ? {} : { hint: heaviest.hint }),
  });
}

function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
