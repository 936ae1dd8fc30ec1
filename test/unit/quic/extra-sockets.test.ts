import { describe, expect, it } from 'vitest';
import { type Address, sameAddress } from '../../../src/base/address.ts';
import type { Carrier, QuicEndpoint } from '../../../src/quic/index.ts';
import { ALPN, echoStreams, exchange, firstAddress, openEndpoint, until } from './harness.ts';

const STUN = Uint8Array.of(0, 1, 0, 0);

/** What arrived as STUN: at which of our sockets, from where. */
function listen(endpoint: QuicEndpoint): { remote: Address; local: Address }[] {
  const arrived: { remote: Address; local: Address }[] = [];
  endpoint.onStun = (_datagram, remote, local) => arrived.push({ remote, local });
  return arrived;
}

describe('further sockets of an endpoint', () => {
  it('send what names them, receive as the others do, and are no address of the endpoint', async () => {
    const [alice, bob] = [await openEndpoint(), await openEndpoint()];
    const [atAlice, atBob] = [listen(alice), listen(bob)];
    const extra = await alice.openSocket(4);
    expect(alice.addresses).toHaveLength(1);
    expect(alice.stats.extraSockets).toBe(1);

    expect(alice.send(STUN, firstAddress(bob), extra)).toBe(true);
    expect(alice.send(STUN, firstAddress(bob))).toBe(true);
    await until(() => atBob.length === 2);
    expect(atBob.map(({ remote }) => remote.port).sort()).toEqual(
      [extra.port, firstAddress(alice).port].sort(),
    );
    bob.send(STUN, { host: '127.0.0.1', port: extra.port });
    await until(() => atAlice.length === 1);
    expect(atAlice[0]?.local).toBe(extra);
  });

  it('carry a connection whose path leads through one', async () => {
    const ends: { bob?: QuicEndpoint } = {};
    const alice = await openEndpoint();
    const extra = await alice.openSocket(4);
    const atExtra: Address = { host: '127.0.0.1', port: extra.port };
    const toAlice: Carrier = {
      send: (datagram) => ends.bob?.send(datagram, atExtra),
      classOf: (remote) => (sameAddress(remote, atExtra) ? 'public' : undefined),
    };
    const bob = await openEndpoint({
      accept: {
        admit: (remote) =>
          sameAddress(remote, atExtra)
            ? { kind: 'carried', carrier: toAlice, pathClass: 'public' }
            : { kind: 'drop' },
        onConnection: echoStreams,
      },
    });
    ends.bob = bob;
    const toBob: Carrier = {
      send: (datagram) => alice.send(datagram, firstAddress(bob), extra),
      classOf: (_remote, local) => (local === extra ? 'public' : undefined),
    };
    const connection = await alice.dial({ carrier: toBob, alpn: ALPN, verify: () => true });
    expect(await exchange(connection, 'by the side door')).toBe('by the side door');
  });

  it('are closed one by one, or all with the endpoint, and none is opened after', async () => {
    const endpoint = await openEndpoint();
    const sockets = await Promise.all(Array.from({ length: 256 }, () => endpoint.openSocket(4)));
    expect(new Set(sockets.map(({ port }) => port)).size).toBe(256);
    expect(endpoint.stats.extraSockets).toBe(256);
    await Promise.all(sockets.slice(1).map((socket) => endpoint.closeSocket(socket)));
    expect(endpoint.stats.extraSockets).toBe(1);
    expect(endpoint.send(STUN, firstAddress(endpoint), sockets[1])).toBe(false);
    // Whichever is faster: nothing is left open.
    await Promise.allSettled([endpoint.openSocket(4), endpoint.close()]);
    expect(endpoint.stats.extraSockets).toBe(0);
    await expect(endpoint.openSocket(4)).rejects.toMatchObject({ code: 'CHATTY_CONFIG' });
  });

  it('are none of a family the endpoint has no socket of', async () => {
    const endpoint = await openEndpoint();
    await expect(endpoint.openSocket(6)).rejects.toMatchObject({ code: 'CHATTY_CONFIG' });
  });
});
