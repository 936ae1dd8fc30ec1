import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSelfSigned } from '../../src/base/certificate.ts';
import type { Address } from '../../src/base/address.ts';
import type { QuicConnection, QuicStream } from '../../src/quic/index.ts';
import {
  ALPN,
  dialServer,
  echoStreams,
  exchange,
  openEndpoint,
  openServer,
  type Server,
  until,
} from '../unit/quic/harness.ts';
import { firstInitials } from '../unit/quic/initials.ts';
import { SkippingClock } from '../unit/quic/skipping-clock.ts';

const MB = 1024 * 1024;

/** What hostile peers may make the process grow by in all, windows and garbage included. */
const MAX_GROWTH_BYTES = 200 * MB;

let server: Server;
let clock: SkippingClock;
let honest: QuicConnection;
let talking: { stop(): Promise<number> };
let rssBefore: number;

/** Exchanges messages without a pause, and fails the test if one is lost or changed. */
function keepTalking(connection: QuicConnection): { stop(): Promise<number> } {
  let over = false;
  const stopped = (): boolean => over;
  const talk = (async () => {
    let count = 0;
    while (!stopped()) {
      const text = `message ${count}`;
      if ((await exchange(connection, text)) !== text) throw new Error(`${text} was changed`);
      count += 1;
    }
    return count;
  })();
  return {
    stop: () => {
      over = true;
      return talk;
    },
  };
}

beforeEach(async () => {
  const good = await createSelfSigned('honest.invalid');
  clock = new SkippingClock();
  server = await openServer(
    {
      clock,
      idleTimeoutMs: 3000,
      limits: { receiveWindowBytes: 256 * 1024, maxStreams: 32, maxHandshakes: 1000 },
    },
    {
      onConnection: (connection) => {
        // Only the honest are answered; what others send is never even read.
        if (Buffer.compare(connection.peerFingerprint, good.fingerprint) === 0) {
          echoStreams(connection);
        } else connection.onStream = () => undefined;
      },
    },
  );
  honest = await dialServer(await openEndpoint({ identity: good }), server.address);
  await exchange(honest, 'before');
  rssBefore = process.memoryUsage.rss();
  talking = keepTalking(honest);
});

afterEach(async () => {
  expect(await talking.stop()).toBeGreaterThan(0);
  expect(await exchange(honest, 'after')).toBe('after');
  expect(server.endpoint.stats.faults).toBe(0);
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(MAX_GROWTH_BYTES);
});

async function hostile(count: number): Promise<QuicConnection[]> {
  const endpoint = await openEndpoint({ limits: { maxStreams: 1000 } });
  return Promise.all(Array.from({ length: count }, () => dialServer(endpoint, server.address)));
}

describe('an endpoint among hostile peers', () => {
  it('lets a flood stop at the window of who sends it', async () => {
    const chunk = Buffer.alloc(64 * 1024);
    for (const connection of await hostile(20)) {
      for (let count = 0; count < 8; count++) {
        const stream = connection.openStream();
        while (stream.write(chunk));
      }
    }
    await exchange(honest, 'x'.repeat(100_000));
  });

  it('outlives storms of streams that are reset as soon as they are opened', async () => {
    for (let round = 0; round < 3; round++) {
      const [connection] = await hostile(1);
      if (connection === undefined) throw new Error('not connected');
      let opened = 0;
      while (opened < 1000) {
        const streams: QuicStream[] = [];
        try {
          for (;;) streams.push(connection.openStream());
        } catch {
          // No more at once: that is what the storm is made of.
        }
        for (const stream of streams) stream.write('x');
        await new Promise((resolve) => setImmediate(resolve));
        for (const stream of streams) stream.destroy(new Error('storm'));
        opened += streams.length;
        await until(() => mayOpen(connection));
      }
      connection.close();
    }
    await until(() => server.endpoint.stats.connections === 1);
  });

  it('forgets the silent', async () => {
    await hostile(100);
    expect(server.endpoint.stats.connections).toBe(101);
    await until(() => server.endpoint.stats.connections === 1);
  });

  it('forgets those whose process is killed', async () => {
    const file = fileURLToPath(new URL('./hostile-quic-child.ts', import.meta.url));
    const args = ['--import', 'tsx', file, String(server.address.port), '30', ALPN];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    expect(server.endpoint.stats.connections).toBe(31);
    child.kill('SIGKILL');
    await until(() => server.endpoint.stats.connections === 1);
  });

  it('holds no more half-open handshakes than its cap, from thousands of ports', async () => {
    const initials = await firstInitials(3000);
    for (const [index, initial] of initials.entries()) {
      const remote: Address = { host: `127.1.${index >> 8}.${index & 255}`, port: 1 + index };
      server.endpoint.receive(initial, remote);
      if (index % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server.endpoint.stats).toMatchObject({ handshakes: 1000, dropped: { limit: 2000 } });
    await exchange(honest, 'meanwhile');
    clock.skip(5100);
    expect(server.endpoint.stats).toMatchObject({ connections: 1, handshakes: 0 });
  });

  it('serves on after connections that end in the middle of everything', async () => {
    for (let round = 0; round < 5; round++) {
      for (const connection of await hostile(20)) {
        connection.openStream().write(Buffer.alloc(100_000));
        setImmediate(() => connection.close(round, 'x'.repeat(2000)));
      }
    }
    await until(() => server.endpoint.stats.connections === 1);
  });
});

function mayOpen(connection: QuicConnection): boolean {
  try {
    connection.openStream().destroy();
    return true;
  } catch {
    return false;
  }
}
