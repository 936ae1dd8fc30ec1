import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatAddress } from '../../../src/base/address.ts';
import type { LogFields, Logger } from '../../../src/base/logger.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { Metrics } from '../../../src/cli/metrics.ts';
import { OperationsServer } from '../../../src/cli/operations-server.ts';

const ANY_PORT = { host: '127.0.0.1', port: 0 };

let metrics: Metrics;
let server: OperationsServer;
let warnings: (readonly [string, LogFields | undefined])[];
let logger: Logger;
beforeEach(async () => {
  metrics = new Metrics();
  warnings = [];
  logger = {
    ...silentLogger,
    warn: (event, fields) => void warnings.push([event, fields]),
    error: (event, fields) => void warnings.push([event, fields]),
  };
  server = await OperationsServer.listen(ANY_PORT, metrics, logger);
});
afterEach(() => server.close());

const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`http://${formatAddress(server.address ?? ANY_PORT)}${path}`, init);

/** The lines of a metric's samples. */
async function samples(name: string): Promise<string[]> {
  const text = await (await ask('/metrics')).text();
  return text.split('\n').filter((line) => line.startsWith(name));
}

describe('what operators ask', () => {
  it('is healthy while it runs, and ready while it serves', async () => {
    expect((await ask('/healthz')).status).toBe(200);
    expect((await ask('/readyz')).status).toBe(503);
    server.ready = true;
    expect((await ask('/readyz')).status).toBe(200);
    server.ready = false;
    expect((await ask('/readyz?verbose')).status).toBe(503);
  });

  it.each([
    ['/', 'GET', 404],
    ['/metrics/', 'GET', 404],
    ['/metrics', 'POST', 405],
    ['/healthz', 'HEAD', 200],
  ])('at %s with %s is answered by %i', async (path, method, status) => {
    expect((await ask(path, { method })).status).toBe(status);
  });

  it('is told as Prometheus reads it, as it is at that moment', async () => {
    let waiting = 1;
    metrics.gauge('chatty_peers_waiting', 'Peers.', () => waiting);
    metrics.gauges('chatty_members', 'Members.', 'state', () => ({ linked: waiting, left: 0 }));
    metrics.counters('chatty_checks_total', 'Checks.', 'result', () => ({ silent: waiting * 3 }));
    const observe = metrics.latency('chatty_match_latency_seconds', 'Latency.');
    expect(await samples('chatty_peers_waiting')).toEqual(['chatty_peers_waiting 1']);
    waiting = 5;
    observe(3);
    observe(700);
    expect(await samples('chatty_peers_waiting')).toEqual(['chatty_peers_waiting 5']);
    expect(await samples('chatty_members')).toEqual([
      'chatty_members{state="linked"} 5',
      'chatty_members{state="left"} 0',
    ]);
    expect(await samples('chatty_checks_total')).toEqual([
      'chatty_checks_total{result="silent"} 15',
    ]);
    const buckets = await samples('chatty_match_latency_seconds');
    expect(buckets).toContain('chatty_match_latency_seconds_bucket{le="0.005"} 1');
    expect(buckets).toContain('chatty_match_latency_seconds_bucket{le="1"} 2');
    expect(buckets).toContain('chatty_match_latency_seconds_count 2');
    const lags = await samples('chatty_event_loop_lag_seconds');
    expect(lags.map((line) => /quantile="([^"]+)"/.exec(line)?.[1]).sort()).toEqual([
      '0.5',
      '0.99',
      '1',
    ]);
    expect((await ask('/metrics')).headers.get('content-type')).toContain('version=0.0.4');
  });

  it('is an error in words, and in the log, where a figure cannot be read', async () => {
    metrics.gauge('chatty_broken', 'Breaks.', () => {
      throw new Error('no such figure');
    });
    expect((await ask('/metrics')).status).toBe(500);
    expect(warnings).toEqual([['the metrics could not be read', { reason: 'no such figure' }]]);
    expect((await ask('/healthz')).status).toBe(200);
  });
});

describe('a port in use', () => {
  it('is a warning, not the end', async () => {
    const second = await OperationsServer.listen(server.address ?? ANY_PORT, metrics, logger);
    expect(second.address).toBeUndefined();
    expect(warnings).toEqual([
      [
        'no metrics: cannot listen for operators',
        {
          address: formatAddress(server.address ?? ANY_PORT),
          reason: expect.stringContaining('EADDRINUSE') as string,
        },
      ],
    ]);
    second.close();
    expect((await ask('/healthz')).status).toBe(200);
  });
});
