import { afterEach, describe, expect, it } from 'vitest';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { Identity } from '../../../src/base/identity.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { type Carrier, type QuicConnection, QuicEndpoint } from '../../../src/quic/index.ts';
import { EarlyDial } from '../../../src/peer/early-dial.ts';
import type { FriendPath } from '../../../src/peer/friend-path.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const ALPN = 'chatty/1';
const endpoints: QuicEndpoint[] = [];

afterEach(async () => {
  await Promise.all(endpoints.splice(0).map((endpoint) => endpoint.close()));
});

async function open(onConnection: (connection: QuicConnection) => void): Promise<{
  readonly endpoint: QuicEndpoint;
  readonly identity: Identity;
}> {
  const identity = await createSelfSigned('peer');
  const endpoint = await QuicEndpoint.open({
    identity,
    clock: systemClock,
    random: systemRandom,
    listen: [{ host: '127.0.0.1', port: 0 }],
    alpn: [ALPN],
    accept: { admit: () => ({ kind: 'drop' }), onConnection },
  });
  endpoints.push(endpoint);
  return { endpoint, identity };
}

/** Two friends between whom datagrams go as over a relay. */
async function friends() {
  const accepted: QuicConnection[] = [];
  const near = await open(() => undefined);
  const far = await open((connection) => accepted.push(connection));
  const carrier = (to: () => readonly [QuicEndpoint, Carrier]): Carrier => ({
    send: (datagram) => {
      const copy = Uint8Array.from(datagram);
      setImmediate(() => {
        const [endpoint, other] = to();
        endpoint.deliver(copy, 'relay', other);
      });
    },
    classOf: () => undefined,
  });
  const nearPath: Carrier = carrier(() => [far.endpoint, farPath]);
  const farPath: Carrier = carrier(() => [near.endpoint, nearPath]);
  const dial = (clock = new VirtualClock()): EarlyDial =>
    new EarlyDial((options) => near.endpoint.dial({ ...options, alpn: ALPN }), clock);
  return { near, far, nearPath: nearPath as unknown as FriendPath, farPath, accepted, dial };
}

describe('a connection that is begun before the match', () => {
  it('is made of what was sent ahead, and goes on over the path of the match', async () => {
    const { far, nearPath, farPath, accepted, dial } = await friends();
    const early = dial();
    const flight = await early.flight();
    expect(flight.map(({ length }) => length)).toEqual([1200]);
    const connection = early.adopt(nearPath, far.identity.fingerprint);
    for (const datagram of flight) {
      far.endpoint.deliver(Uint8Array.from(datagram), 'relay', farPath);
    }
    expect((await connection).carrier).toBe(nearPath);
    await expect.poll(() => accepted.length).toBe(1);
  });

  it('is refused where the friend has another key than the match said', async () => {
    const { near, far, nearPath, farPath, dial } = await friends();
    const early = dial();
    const flight = await early.flight();
    const connection = early.adopt(nearPath, near.identity.fingerprint);
    for (const datagram of flight) {
      far.endpoint.deliver(Uint8Array.from(datagram), 'relay', farPath);
    }
    await expect(connection).rejects.toMatchObject({ code: 'CHATTY_UNTRUSTED' });
  });

  it('hears nothing before, whoever answers', async () => {
    const { near, far, farPath, accepted, dial } = await friends();
    const early = dial();
    for (const datagram of await early.flight()) {
      far.endpoint.deliver(Uint8Array.from(datagram), 'relay', farPath);
    }
    await expect.poll(() => near.endpoint.stats.dropped.path).toBeGreaterThan(0);
    expect(accepted).toEqual([]);
    expect(early.successor).toBeUndefined();
  });

  it('ends when no match has come soon', async () => {
    const { near, dial } = await friends();
    const clock = new VirtualClock();
    const early = dial(clock);
    await early.flight();
    expect(early.isFresh(clock.now())).toBe(true);
    clock.runUntil(699);
    expect(near.endpoint.stats.connections).toBe(1);
    clock.runUntil(700);
    expect(early.isFresh(clock.now())).toBe(false);
    await expect.poll(() => near.endpoint.stats.connections).toBe(0);
  });
});
