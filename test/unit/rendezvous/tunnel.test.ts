import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Tunnel, type TunnelStream } from '../../../src/rendezvous/tunnel.ts';

/** A stream that takes each message when it is told to. */
class Stream extends EventEmitter {
  readonly written: number[][] = [];
  ended = false;
  #taken: (() => void)[] = [];

  write({ datagrams }: { datagrams: Buffer[] }, taken: () => void): void {
    this.written.push(datagrams.map(({ length }) => length));
    this.#taken.push(taken);
  }

  end(): void {
    this.ended = true;
  }

  take(): void {
    for (const taken of this.#taken.splice(0)) taken();
  }
}

function open() {
  const stream = new Stream();
  const counts = { dropped: 0, ended: 0 };
  const tunnel = new Tunnel(1, stream as unknown as TunnelStream, {
    ...{ sourcePrefix: 'somewhere', now: 0 },
    dropped: () => (counts.dropped += 1),
    ended: () => (counts.ended += 1),
  });
  return { stream, tunnel, counts };
}

describe('a tunnel', () => {
  it('sends what one turn brings as one message', async () => {
    const { stream, tunnel } = open();
    tunnel.send(Buffer.alloc(10));
    tunnel.send(Buffer.alloc(20));
    await Promise.resolve();
    expect(stream.written).toEqual([[10, 20]]);
  });

  it('holds no more than 64 KiB for a peer that does not read', async () => {
    const { stream, tunnel, counts } = open();
    tunnel.send(Buffer.alloc(1));
    await Promise.resolve();
    for (let count = 0; count < 1_000; count++) tunnel.send(Buffer.alloc(1_024));
    await Promise.resolve();
    expect(counts.dropped).toBe(1_000 - 64);
    expect(stream.written).toEqual([[1]]);
    stream.take();
    expect(stream.written.at(-1)).toHaveLength(64);
  });

  it('passes on what is no longer than a datagram, until it ends', () => {
    const { stream, tunnel, counts } = open();
    const got: number[] = [];
    tunnel.onDatagram = ({ length }) => got.push(length);
    stream.emit('data', { datagrams: [1_500, 1_501, 1].map((bytes) => Buffer.alloc(bytes)) });
    stream.emit('cancelled');
    stream.emit('data', { datagrams: [Buffer.alloc(2)] });
    stream.emit('end');
    expect(got).toEqual([1_500, 1]);
    expect(counts.ended).toBe(1);
    expect(stream.ended).toBe(true);
  });

  it('takes no datagram any more once it has ended, and sends what came before', () => {
    const { stream, tunnel } = open();
    tunnel.send(Buffer.alloc(10));
    tunnel.end();
    tunnel.send(Buffer.alloc(20));
    expect(stream.written).toEqual([[10]]);
  });
});
