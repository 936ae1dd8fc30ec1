import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { QuicEndpoint } from '../../../src/quic/index.ts';
import type { Channel, Contender } from './contender.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const ALPN = 'bench/1';
const MANY = 100_000;
const LIMITS = {
  maxConnections: MANY,
  maxConnectionsPerPrefix: MANY,
  maxHandshakes: MANY,
  maxHandshakesPerPrefix: MANY,
};

export function duplexChannel(stream: Duplex): Channel {
  return {
    write: (bytes) => stream.write(bytes),
    drained: async () => {
      await once(stream, 'drain');
    },
    onData: (take) => stream.on('data', take),
  };
}

/** Our own endpoint, with datagrams of up to `maxDatagramBytes`. */
export function chatty(maxDatagramBytes: number): Contender {
  const common = {
    clock: systemClock,
    random: systemRandom,
    listen: [LOOPBACK],
    alpn: [ALPN],
    limits: LIMITS,
    maxDatagramBytes,
    idleTimeoutMs: 600_000,
  };
  return {
    serve: async (identity, take) => {
      const endpoint = await QuicEndpoint.open({
        ...common,
        identity,
        accept: {
          admit: () => ({ kind: 'plain' }),
          onConnection: (connection) => {
            connection.onStream = (stream) => take(duplexChannel(stream));
          },
        },
      });
      return { port: endpoint.addresses[0]?.port ?? 0 };
    },
    client: async (identity, port) => {
      const endpoint = await QuicEndpoint.open({ ...common, identity });
      return {
        connect: async () => {
          const connection = await endpoint.dial({
            remote: { host: '127.0.0.1', port },
            alpn: ALPN,
            verify: () => true,
            handshakeTimeoutMs: 30_000,
          });
          return {
            open: () => Promise.resolve(duplexChannel(connection.openStream())),
            close: () => connection.close(),
          };
        },
      };
    },
  };
}
