import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { describe, expect, it } from 'vitest';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import type { Address } from '../../../src/base/address.ts';
import {
  ALPN,
  anyIdentity,
  dialServer,
  echoPair,
  echoStreams,
  exchange,
  firstAddress,
  LOOPBACK,
  openEndpoint,
  openServer,
  readAll,
} from './harness.ts';

describe('connecting', () => {
  it('proves each side to the other by its key', async () => {
    const [serverIdentity, clientIdentity] = [
      await createSelfSigned('server.invalid'),
      await createSelfSigned('client.invalid'),
    ];
    const server = await openServer({ identity: serverIdentity });
    const client = await openEndpoint({ identity: clientIdentity });
    const dialled = await dialServer(client, server.address);
    const accepted = await server.next();
    expect(dialled.peerFingerprint).toEqual(serverIdentity.fingerprint);
    expect(accepted.peerFingerprint).toEqual(clientIdentity.fingerprint);
    expect(dialled.peerCertificate).toEqual(serverIdentity.certDer);
    expect([dialled.role, accepted.role]).toEqual(['dialer', 'acceptor']);
    expect([dialled.alpn, accepted.alpn]).toEqual([ALPN, ALPN]);
    expect(accepted.remote).toEqual(firstAddress(client));
    expect(dialled.remote).toEqual(server.address);
  });

  it('rejects the dial when the dialer does not trust the server, and tells the server', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    await expect(dialServer(client, server.address, { verify: () => false })).rejects.toMatchObject(
      { code: 'CHATTY_UNTRUSTED' },
    );
    const accepted = await Promise.race([server.next(), Promise.resolve(undefined)]);
    if (accepted !== undefined) {
      await expect(accepted.closed).resolves.toMatchObject({ kind: 'peer', code: 0x12a });
    }
    expect(client.stats.connections).toBe(0);
  });

  it('never shows a connection whose client certificate the server refuses', async () => {
    const server = await openServer({}, { verify: () => false });
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    await expect(connection.closed).resolves.toMatchObject({ kind: 'peer', code: 0x12a });
    expect(server.connections).toEqual([]);
    expect(server.endpoint.stats).toMatchObject({ connections: 0, handshakes: 0 });
  });

  it('treats a judge that throws as a refusal', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    const verify = (): boolean => {
      throw new Error('no such pin');
    };
    await expect(dialServer(client, server.address, { verify })).rejects.toMatchObject({
      code: 'CHATTY_UNTRUSTED',
      message: 'the peer is not trusted: no such pin',
    });
  });

  it('refuses a protocol that is not served', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    await expect(dialServer(client, server.address, { alpn: 'other/1' })).rejects.toMatchObject({
      code: 'CHATTY_TRANSPORT',
    });
  });

  it('gives up on a silent address after the handshake timeout', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const client = await openEndpoint();
    const remote: Address = { host: '127.0.0.1', port: silent.address().port };
    await expect(dialServer(client, remote, { handshakeTimeoutMs: 50 })).rejects.toMatchObject({
      code: 'CHATTY_TRANSPORT',
    });
    expect(client.stats.connections).toBe(0);
    silent.close();
  });

  it('stops dialling when its signal aborts', async () => {
    const client = await openEndpoint();
    const abort = new AbortController();
    const remote: Address = { host: '127.0.0.1', port: 9 };
    const dial = dialServer(client, remote, { signal: abort.signal });
    abort.abort(new Error('changed my mind'));
    await expect(dial).rejects.toThrow('changed my mind');
    expect(client.stats.connections).toBe(0);
  });

  it('rejects, never throws, for an address no packet can go to', async () => {
    const client = await openEndpoint();
    for (const remote of [
      { host: '127.0.0.1', port: 0 },
      { host: '::1', port: 1 },
    ]) {
      await expect(dialServer(client, remote)).rejects.toMatchObject({ code: 'CHATTY_TRANSPORT' });
    }
    const broadcast = { host: '255.255.255.255', port: 1 };
    await expect(dialServer(client, broadcast, { handshakeTimeoutMs: 20 })).rejects.toMatchObject({
      code: 'CHATTY_TRANSPORT',
    });
    expect(client.send(Buffer.alloc(20), { host: '127.0.0.1', port: 0 })).toBe(false);
    expect(client.send(Buffer.alloc(20), { host: '::1', port: 9 })).toBe(false);
  });

  it('serves and dials on one socket, in both directions at once', async () => {
    const [a, b] = [await openServer(), await openServer()];
    const [ab, ba] = await Promise.all([
      dialServer(a.endpoint, b.address),
      dialServer(b.endpoint, a.address),
    ]);
    echoStreams(await a.next());
    echoStreams(await b.next());
    expect(await exchange(ab, 'from a')).toBe('from a');
    expect(await exchange(ba, 'from b')).toBe('from b');
  });

  it('talks over IPv6', async () => {
    const listen = [{ host: '::1', port: 0 }];
    const server = await openServer({ listen }, { onConnection: echoStreams });
    const client = await openEndpoint({ listen });
    expect(await exchange(await dialServer(client, server.address), 'six')).toBe('six');
  });
});

describe('the socket', () => {
  it('hands STUN and relay datagrams to their handlers', async () => {
    const [a, b] = [await openEndpoint(), await openEndpoint()];
    const stun = new Promise((resolve) => {
      b.onStun = (datagram, remote, local) => resolve([datagram[1], remote, local]);
    });
    const relay = new Promise((resolve) => {
      b.onRelay = (datagram, remote, local) => resolve([datagram[1], remote, local]);
    });
    expect(a.send(Uint8Array.of(0, 1), firstAddress(b))).toBe(true);
    expect(a.send(Uint8Array.of(0x0c, 2), firstAddress(b))).toBe(true);
    expect(await stun).toEqual([1, firstAddress(a), firstAddress(b)]);
    expect(await relay).toEqual([2, firstAddress(a), firstAddress(b)]);
  });

  it('says so when the port is in use, or the address is not ours', async () => {
    const taken = firstAddress(await openEndpoint());
    await expect(openEndpoint({ listen: [taken] })).rejects.toMatchObject({
      code: 'CHATTY_PORT_IN_USE',
    });
    await expect(
      openEndpoint({ listen: [LOOPBACK, { host: '192.0.2.1', port: 0 }] }),
    ).rejects.toMatchObject({ code: 'CHATTY_CONFIG' });
  });
});

describe('streams', () => {
  it('carries 20 MB both ways unchanged', async () => {
    const { connection } = await echoPair();
    const stream = connection.openStream();
    const sent = Buffer.alloc(20_000_000, 'every good boy deserves fudge ');
    stream.end(sent);
    const received = await readAll(stream);
    expect(received.equals(sent)).toBe(true);
  });

  it('gives the streams opened before anyone listened', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    connection.openStream().end('one');
    connection.openStream().end('two');
    const accepted = await server.next();
    const ids: number[] = [];
    const texts = await new Promise<string[]>((resolve) => {
      const all: Promise<string>[] = [];
      accepted.onStream = (stream) => {
        ids.push(stream.id);
        all.push(readAll(stream).then(String));
        if (all.length === 2) resolve(Promise.all(all));
      };
    });
    expect(texts).toEqual(['one', 'two']);
    expect(ids).toEqual([0, 4]);
  });

  it('throws when the peer allows no more streams, and goes on', async () => {
    const { connection } = await echoPair({ limits: { maxStreams: 3 } });
    const streams = [1, 2, 3].map(() => connection.openStream());
    expect(() => connection.openStream()).toThrow(
      expect.objectContaining({ code: 'CHATTY_OVERLOADED' }),
    );
    streams[0]?.end('still here');
    expect(String(await readAll(streams[0] as never))).toBe('still here');
  });

  it('keeps a writer waiting while nobody reads', async () => {
    const server = await openServer({ limits: { receiveWindowBytes: 65_536 } });
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    const stream = connection.openStream();
    const chunk = Buffer.alloc(65_536);
    let written = 0;
    while (stream.write(chunk)) written += chunk.length;
    expect(written).toBeLessThan(1_000_000);
    const accepted = await server.next();
    const drained = once(stream, 'drain');
    accepted.onStream = (incoming) => incoming.resume();
    await drained;
  });

  it('surfaces a reset on that stream only', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    const accepted = await server.next();
    const incoming = new Promise<Error>((resolve) => {
      accepted.onStream = (stream) => {
        stream.once('error', resolve);
        stream.once('data', () => accepted.openStream().end('fine'));
        if (stream.id === 4) stream.pipe(stream);
      };
    });
    const doomed = connection.openStream();
    doomed.write('a');
    connection.onStream = () => doomed.destroy();
    expect(await incoming).toMatchObject({ code: 'CHATTY_TRANSPORT' });
    expect(await exchange(connection, 'next')).toBe('next');
  });
});

describe('closing', () => {
  it('tells the peer the code and the reason', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    const accepted = await server.next();
    connection.close(7, 'enough');
    expect(await connection.closed).toEqual({ kind: 'local', code: 7, reason: 'enough' });
    expect(await accepted.closed).toEqual({ kind: 'peer', code: 7, reason: 'enough' });
    expect(() => connection.openStream()).toThrow(
      expect.objectContaining({ code: 'CHATTY_TRANSPORT' }),
    );
  });

  it('says first what was written just before', async () => {
    const server = await openServer();
    const client = await openEndpoint();
    const connection = await dialServer(client, server.address);
    const accepted = await server.next();
    const said = new Promise<string>((resolve) => {
      accepted.onStream = (stream) => stream.once('data', (chunk) => resolve(String(chunk)));
    });
    connection.openStream().end('famous last words');
    connection.close();
    expect(await said).toBe('famous last words');
  });

  it('ends every connection with the endpoint', async () => {
    const { server, connection } = await echoPair();
    await exchange(connection, 'hello');
    await server.endpoint.close(3, 'moving');
    expect(await connection.closed).toEqual({ kind: 'peer', code: 3, reason: 'moving' });
  });

  it('notices a peer that has gone silent', async () => {
    const server = await openServer({ idleTimeoutMs: 100 });
    const client = await openEndpoint({ identity: await anyIdentity() });
    const connection = await dialServer(client, server.address);
    expect(await connection.closed).toMatchObject({ kind: 'idle', code: 0 });
  });

  it('keeps a quiet connection alive', async () => {
    const { server, client, connection: quiet } = await echoPair({ idleTimeoutMs: 200 });
    const kept = await dialServer(client, server.address, { keepAliveMs: 40 });
    await quiet.closed;
    expect(await exchange(kept, 'awake')).toBe('awake');
  });
});
