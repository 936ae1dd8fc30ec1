import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { duplexChannel } from './chatty.ts';
import type { Contender } from './contender.ts';

/** `node:tls` over TCP, with a certificate demanded of both sides, judged by us. */
export const nodeTls: Contender = {
  serve: async (identity, take) => {
    const server = createServer(
      {
        key: identity.keyPem,
        cert: identity.certPem,
        minVersion: 'TLSv1.3',
        requestCert: true,
        rejectUnauthorized: false,
      },
      (socket) => {
        socket.setNoDelay(true);
        socket.on('error', () => undefined);
        take(duplexChannel(socket));
      },
    );
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
    await once(server, 'listening');
    return { port: (server.address() as AddressInfo).port };
  },
  client: (identity, port) =>
    Promise.resolve({
      connect: async () => {
        const socket = connect({
          host: '127.0.0.1',
          port,
          key: identity.keyPem,
          cert: identity.certPem,
          minVersion: 'TLSv1.3',
          rejectUnauthorized: false,
        });
        socket.setNoDelay(true);
        socket.on('error', () => undefined);
        await once(socket, 'secureConnect');
        // The certificate is looked at on both sides, as it is in ours.
        if (socket.getPeerX509Certificate() === undefined) throw new Error('no certificate');
        return {
          open: () => Promise.resolve(duplexChannel(socket)),
          close: () => socket.destroy(),
        };
      },
    }),
};
