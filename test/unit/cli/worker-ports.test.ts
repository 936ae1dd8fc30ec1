import { describe, expect, it } from 'vitest';
import { workerValues } from '../../../src/cli/worker-ports.ts';
import { argumentsFor } from '../../../src/config/arguments.ts';
import { parseCommandLine } from '../../../src/cli/command-line.ts';
import { readConfiguration } from '../../../src/config/configuration.ts';
import { rendezvousSchema } from '../../../src/config/schemas.ts';

const SETTINGS = {
  listen: ['0.0.0.0:4433', '[::1]:5000', '127.0.0.1:0'],
  clusterListen: ['0.0.0.0:50051'],
  advertise: ['203.0.113.7:4433'],
  loadbalancer: ['lb.internal:50051', 'dns:///lb:50051'],
  tls: 'a directory',
  maxMemory: '1536MiB',
  processes: 'auto',
};
/** What should not matter to a worker any more. */
const ENVIRONMENT = { CHATTY_CLUSTER_ADVERTISE: '', CHATTY_LISTEN: '0.0.0.0:1' };

const none = (): Promise<unknown> => Promise.resolve({});

async function settings(more: object = {}) {
  const readFile = () => Promise.resolve({ ...SETTINGS, ...more });
  const env = { CHATTY_CONFIG: 'file' };
  return (await readConfiguration(rendezvousSchema, { args: {}, env, readFile })).values;
}

describe('a worker', () => {
  it('listens on every port + its number, but for port 0', async () => {
    expect(workerValues(await settings(), 2)).toMatchObject({
      listen: [
        { host: '0.0.0.0', port: 4435 },
        { host: '::1', port: 5002 },
        { host: '127.0.0.1', port: 0 },
      ],
      clusterListen: [{ host: '0.0.0.0', port: 50053 }],
      advertise: [{ host: '203.0.113.7', port: 4435 }],
      operationsListen: { host: '127.0.0.1', port: 9466 },
      processes: 1,
    });
  });

  it('leaves a well-known port beside others to worker 0', async () => {
    const listen = ['0.0.0.0:4433', '0.0.0.0:443'];
    const advertise = ['203.0.113.7:4433', '203.0.113.7:443'];
    const values = await settings({ listen, advertise });
    const ports = (index: number) => {
      const worker = workerValues(values, index);
      return [worker.listen, worker.advertise].map((list) => list.map(({ port }) => port));
    };
    expect(ports(0)).toEqual([
      [4433, 443],
      [4433, 443],
    ]);
    expect(ports(1)).toEqual([[4434], [4434]]);
    const only = workerValues(await settings({ listen: ['0.0.0.0:443'] }), 1);
    expect(only.listen).toEqual([{ host: '0.0.0.0', port: 444 }]);
  });

  it('leaves off what is off', async () => {
    const values = await settings({ operationsListen: 'off' });
    expect(workerValues(values, 1).operationsListen).toBe('off');
  });

  it('cannot be where there is no such port', async () => {
    const values = await settings({ listen: ['0.0.0.0:65534'] });
    expect(workerValues(values, 1).listen[0]?.port).toBe(65_535);
    expect(() => workerValues(values, 2)).toThrow(/no port 65534 \+ 2/);
  });

  it('is given arguments that mean exactly its settings', async () => {
    const values = workerValues(await settings(), 3);
    const argv = argumentsFor(rendezvousSchema, values);
    const shape = { name: 'chatty-rendezvous', summary: '', schema: rendezvousSchema, notes: [] };
    const parsed = parseCommandLine(shape, argv, '0');
    if (parsed.kind !== 'run') throw new Error('it shows something instead');
    const sources = { args: parsed.options, env: ENVIRONMENT, readFile: none };
    const { values: again } = await readConfiguration(rendezvousSchema, sources);
    expect({ ...again, config: undefined }).toEqual({ ...values, config: undefined });
  });
});
