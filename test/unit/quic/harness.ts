import { afterEach } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { Identity } from '../../../src/base/identity.ts';
import { systemRandom } from '../../../src/base/random.ts';
import {
  type AcceptOptions,
  QuicEndpoint,
  type QuicConnection,
  type QuicEndpointOptions,
  type QuicStream,
} from '../../../src/quic/index.ts';

export const ALPN = 'test/1';
export const LOOPBACK: Address = { host: '127.0.0.1', port: 0 };

const open = new Set<QuicEndpoint>();

afterEach(async () => {
  for (const endpoint of open) await endpoint.close();
  open.clear();
});

let shared: Promise<Identity> | undefined;

/** One identity for the tests that do not care which. */
export function anyIdentity(): Promise<Identity> {
  shared ??= createSelfSigned('test.invalid');
  return shared;
}

/** An endpoint on loopback that is closed after the test. */
export async function openEndpoint(
  options: Partial<QuicEndpointOptions> = {},
): Promise<QuicEndpoint> {
  const endpoint = await QuicEndpoint.open({
    identity: options.identity ?? (await anyIdentity()),
    clock: systemClock,
    random: systemRandom,
    listen: [LOOPBACK],
    alpn: [ALPN],
    ...options,
  });
  open.add(endpoint);
  return endpoint;
}

export interface Server {
  readonly endpoint: QuicEndpoint;
  readonly address: Address;
  readonly connections: QuicConnection[];
  /** The next connection that is accepted, or the first not yet taken. */
  next(): Promise<QuicConnection>;
}

export async function openServer(
  options: Partial<QuicEndpointOptions> = {},
  accept: Partial<AcceptOptions> = {},
): Promise<Server> {
  const connections: QuicConnection[] = [];
  const waiting: ((connection: QuicConnection) => void)[] = [];
  let taken = 0;
  const endpoint = await openEndpoint({
    ...options,
    accept: {
      admit: () => ({ kind: 'plain' }),
      onConnection: (connection) => {
        connections.push(connection);
        const give = waiting.shift();
        if (give === undefined) return;
        taken += 1;
        give(connection);
      },
      ...accept,
    },
  });
  return {
    endpoint,
    address: firstAddress(endpoint),
    connections,
    next: () => {
      const connection = connections[taken];
      if (connection === undefined) return new Promise((resolve) => waiting.push(resolve));
      taken += 1;
      return Promise.resolve(connection);
    },
  };
}

export function firstAddress(endpoint: QuicEndpoint): Address {
  const address = endpoint.addresses[0];
  if (address === undefined) throw new Error('the endpoint has no socket');
  return address;
}

export function dialServer(
  endpoint: QuicEndpoint,
  remote: Address,
  options: Partial<Parameters<QuicEndpoint['dial']>[0]> = {},
): Promise<QuicConnection> {
  return endpoint.dial({ remote, alpn: ALPN, verify: () => true, ...options });
}

/** Echoes every stream that the peer opens. */
export function echoStreams(connection: QuicConnection): void {
  connection.onStream = (stream) => {
    stream.pipe(stream);
  };
}

/** A server that echoes, and a client connected to it. */
export async function echoPair(
  serverOptions: Partial<QuicEndpointOptions> = {},
  accept: Partial<AcceptOptions> = {},
): Promise<{ server: Server; client: QuicEndpoint; connection: QuicConnection }> {
  const server = await openServer(serverOptions, { onConnection: echoStreams, ...accept });
  const client = await openEndpoint();
  const connection = await dialServer(client, server.address);
  return { server, client, connection };
}

export async function readAll(stream: QuicStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Sends `text` on a new stream, ends it, and gives what comes back. */
export async function exchange(connection: QuicConnection, text: string): Promise<string> {
  const stream = connection.openStream();
  stream.end(text);
  return (await readAll(stream)).toString();
}

/** Resolves when `condition` holds; the test's own time limit bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
