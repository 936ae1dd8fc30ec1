import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Address } from '../../../src/base/address.ts';
import { cpuMs, serveTasks } from '../worker.ts';

/** The least that passes datagrams on: whose they are not is not asked. */
const tasks = {
  forward: async ([one, other]: readonly [number, number]): Promise<Address> => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    socket.on('message', (datagram, { port }) => {
      socket.send(datagram, port === one ? other : one, '127.0.0.1');
    });
    return { host: '127.0.0.1', port: socket.address().port };
  },

  cpuMs: () => cpuMs(),
};

export type ForwarderTasks = typeof tasks;

serveTasks(tasks);
