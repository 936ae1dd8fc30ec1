import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { doctorSchema } from '../../src/config/schemas.ts';
import { environmentName, optionName } from '../../src/config/setting.ts';
import { RealCluster } from './support/real-cluster.ts';
import { runCommand } from './support/run-command.ts';

let cluster: RealCluster;
let there: string[];
beforeAll(async () => {
  cluster = await RealCluster.start(1, 3);
  there = ['--lb', cluster.loadBalancers[0] ?? '', '--state', cluster.state];
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe('chatty doctor', () => {
  it('finds on loopback no NAT, open UDP and every server', async () => {
    const { code, stdout, stderr } = await runCommand('chatty', ['doctor', ...there, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const found = JSON.parse(stdout) as { servers: { ms: number | null }[] };
    expect(found).toMatchObject({
      udp: 'open',
      tunnel: null,
      ipv4: { mapping: 'none', publicAddress: '127.0.0.1', hairpinning: null },
      // No router is asked for anything that stays on this computer.
      portMapping: { by: 'not-tried', usable: null },
      reach: { ordinary: 'direct', random: 'direct', 'no-udp': 'relay' },
    });
    expect(found.servers).toHaveLength(3);
    expect(found.servers.every(({ ms }) => ms !== null)).toBe(true);
  });

  it('draws it for a person', async () => {
    const { code, stdout } = await runCommand('chatty', ['doctor', ...there]);
    expect(code).toBe(0);
    expect(stdout).toContain('you ══════');
    expect(stdout).toContain('3 of 3 addresses');
    expect(stdout).toContain('●  direct');
  });

  it('ends with 69 where no balancer answers, and 64 where none is named', async () => {
    const state = ['--state', `${cluster.state}-nothing`];
    const nobody = await runCommand('chatty', ['doctor', '--lb', '127.0.0.1:1', ...state]);
    expect(nobody.code).toBe(69);
    expect(nobody.stderr).toContain('no rendezvous server could be found');
    expect((await runCommand('chatty', ['doctor', ...state])).code).toBe(64);
    expect((await runCommand('chatty', ['doctor', 'me', ...there])).code).toBe(64);
  });

  it('explains every option and its environment variable', async () => {
    const { code, stdout } = await runCommand('chatty', ['doctor', '--help']);
    expect(code).toBe(0);
    for (const [key, setting] of Object.entries(doctorSchema)) {
      const isOn = setting.default === true;
      expect(stdout).toContain(`${isOn ? '--no-' : '--'}${optionName(key)}`);
      expect(stdout).toContain(environmentName(key));
    }
  });
});
