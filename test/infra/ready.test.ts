import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type BalancerView, compareViews, describeStatus } from '../../src/cli/cluster-status.ts';

const folder = mkdtempSync(join(tmpdir(), 'chatty-ready-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A script of infra/host, with what is elsewhere on a host put here. */
function script(name: string, changes: Readonly<Record<string, string>>): string {
  let text = readFileSync(new URL(`../../infra/host/${name}`, import.meta.url), 'utf8');
  for (const [from, to] of Object.entries(changes)) {
    expect(text).toContain(from);
    text = text.replaceAll(from, to);
  }
  const file = join(folder, name);
  writeFileSync(file, text);
  chmodSync(file, 0o755);
  return file;
}

/** The exit code of a script. */
function run(file: string, ...args: string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = execFile('sh', [file, ...args], () => resolve(child.exitCode ?? -1));
  });
}

function server(address: string, state: 'listed' | 'starting') {
  return {
    ...{ id: address, incarnation: '1', state, peers: ['203.0.113.1:4433'] },
    ...{ cluster: [`${address}:50051`], lastCheck: { result: 'serving', msAgo: 1 } },
    ...{ renewedMsAgo: 1, leaseLeftMs: 1 },
  };
}

describe('a load balancer is ready', () => {
  const ready = script('ready-loadbalancer.sh', {
    '/usr/bin/node-22 /opt/chatty/bin/chatty-loadbalancer': `sh ${folder}/loadbalancer`,
    '@CLUSTER_PORT@': '50051',
  });

  writeFileSync(join(folder, 'loadbalancer'), `[ "$1" = status ] && cat '${folder}/status'\n`);

  /** Has it see the servers, as `chatty-loadbalancer status` says it. */
  function sees(servers: ReturnType<typeof server>[]): void {
    const view: BalancerView = {
      ...{ balancer: '127.0.0.1:50051', answered: true, advertised: [], doubtsItself: false },
      servers,
    };
    writeFileSync(join(folder, 'status'), `${describeStatus(compareViews([view])).join('\n')}\n`);
  }

  it('when it lists every server asked for, whatever others there are', async () => {
    sees([server('10.50.0.1', 'listed'), server('10.50.0.12', 'listed')]);
    expect(await run(ready, '10.50.0.1', '10.50.0.12')).toBe(0);
    expect(await run(ready, '10.50.0.12')).toBe(0);
  });

  it('not while one has not registered, or is only starting', async () => {
    sees([server('10.50.0.12', 'listed'), server('10.50.0.2', 'starting')]);
    expect(await run(ready, '10.50.0.1')).not.toBe(0);
    expect(await run(ready, '10.50.0.12', '10.50.0.2')).not.toBe(0);
  });

  it('not while it does not answer', async () => {
    rmSync(join(folder, 'status'));
    expect(await run(ready, '10.50.0.12')).not.toBe(0);
  });
});

describe('a server host is ready', () => {
  it('when all its servers say so', async () => {
    let status = 200;
    const operations = createServer((_request, response) => {
      response.writeHead(status).end();
    });
    operations.listen(0, '127.0.0.1');
    await once(operations, 'listening');
    const { port } = operations.address() as AddressInfo;
    const host = join(folder, 'host');
    const ready = script('ready-rendezvous.sh', {
      '/etc/chatty/host': host,
      '@OPERATIONS_PORT@': String(port),
    });
    try {
      writeFileSync(host, 'CHATTY_PROCESSES=1\n');
      expect(await run(ready)).toBe(0);
      status = 503;
      expect(await run(ready)).not.toBe(0);
      status = 200;
      // The second one listens nowhere.
      writeFileSync(host, 'CHATTY_PROCESSES=2\n');
      expect(await run(ready)).not.toBe(0);
    } finally {
      operations.close();
    }
  });
});
