import { createHmac, randomFillSync } from 'node:crypto';
import {
  events,
  QUICClient,
  type QUICConnection,
  QUICServer,
  type QUICStream,
} from '@matrixai/quic';
import type { Channel, Contender } from './contender.ts';

const quiet = (): void => undefined;
/** Says nothing; the library's own would write a line for every step. */
const logger = {
  getChild: () => logger,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
} as never;
const verifyCallback = (): Promise<undefined> => Promise.resolve(undefined);
const config = { maxIdleTimeout: 600_000, verifyCallback, verifyPeer: true };
const sign = (key: ArrayBuffer, data: ArrayBuffer): Promise<ArrayBuffer> => {
  const mac = createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest();
  return Promise.resolve(Uint8Array.from(mac).buffer);
};
const randomBytes = (data: ArrayBuffer): Promise<void> => {
  randomFillSync(Buffer.from(data));
  return Promise.resolve();
};

function webChannel(stream: QUICStream): Channel {
  const writer = stream.writable.getWriter();
  return {
    write: (bytes) => {
      void writer.write(bytes);
      return (writer.desiredSize ?? 0) > 0;
    },
    drained: async () => {
      await writer.ready;
    },
    onData: (take) => {
      void (async () => {
        for await (const chunk of stream.readable) take(Buffer.from(chunk));
      })().catch(() => undefined);
    },
  };
}

/** The JavaScript floor of `@matrixai/quic`: its own server, client, connections and streams. */
export const javascriptFloor: Contender = {
  serve: async (identity, take) => {
    const server = new QUICServer({
      crypto: {
        key: randomFillSync(Buffer.alloc(32)).buffer,
        // Connection IDs are made of this too, so it has to be a real one.
        ops: { sign, verify: () => Promise.resolve(true) },
      },
      config: { ...config, key: identity.keyPem, cert: identity.certPem },
      logger,
    });
    server.addEventListener(events.EventQUICServerConnection.name, (event: Event) => {
      const { detail: connection } = event as CustomEvent<QUICConnection>;
      connection.addEventListener(events.EventQUICConnectionStream.name, (opened: Event) => {
        take(webChannel((opened as CustomEvent<QUICStream>).detail));
      });
    });
    await server.start({ host: '127.0.0.1' });
    return { port: server.port };
  },
  client: (identity, port) =>
    Promise.resolve({
      connect: async () => {
        const client = await QUICClient.createQUICClient({
          host: '127.0.0.1',
          port,
          localHost: '127.0.0.1',
          crypto: { ops: { randomBytes } },
          config: { ...config, key: identity.keyPem, cert: identity.certPem },
          logger,
        });
        return {
          open: () => Promise.resolve(webChannel(client.connection.newStream())),
          close: () => {
            void client.destroy({ force: true }).catch(() => undefined);
          },
        };
      },
    }),
};
