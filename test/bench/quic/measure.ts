import type { Channel, Client } from './contender.ts';

const HEAD_BYTES = 9;

function head(mode: 'e' | 's', bytes = 0): Buffer {
  const buffer = Buffer.alloc(HEAD_BYTES);
  buffer.write(mode);
  buffer.writeBigUInt64BE(BigInt(bytes), 1);
  return buffer;
}

function answered(channel: Channel, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let missing = bytes;
    channel.onData((chunk) => {
      missing -= chunk.length;
      if (missing === 0) resolve();
    });
  });
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** Connections one after another: milliseconds to a finished handshake. */
export async function handshakes(client: Client, count: number) {
  const times: number[] = [];
  for (let index = 0; index < count + 10; index++) {
    const started = performance.now();
    const session = await client.connect();
    // The first few warm up the code.
    if (index >= 10) times.push(performance.now() - started);
    session.close();
  }
  times.sort((a, b) => a - b);
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

/** Connections a second, 32 at a time. */
export async function handshakeRate(client: Client, count: number): Promise<number> {
  const started = performance.now();
  let left = count;
  const work = async (): Promise<void> => {
    while (left-- > 0) (await client.connect()).close();
  };
  await Promise.all(Array.from({ length: 32 }, work));
  return (count / (performance.now() - started)) * 1000;
}

/** Milliseconds for 100 bytes there and back, one after another. */
export async function roundTrip(client: Client, count: number): Promise<number> {
  const session = await client.connect();
  const channel = await session.open();
  const message = Buffer.alloc(100, 'x');
  let missing = 0;
  let done: () => void = () => undefined;
  channel.onData((chunk) => {
    missing -= chunk.length;
    if (missing === 0) done();
  });
  channel.write(head('e'));
  const times: number[] = [];
  for (let index = 0; index < count + 50; index++) {
    const started = performance.now();
    missing = message.length;
    const back = new Promise<void>((resolve) => (done = resolve));
    channel.write(message);
    await back;
    if (index >= 50) times.push(performance.now() - started);
  }
  session.close();
  return percentile(
    times.sort((a, b) => a - b),
    0.5,
  );
}

/** Writes of `size` bytes that all arrive, a second. */
export async function writesPerSecond(client: Client, size: number, count: number) {
  const session = await client.connect();
  const channel = await session.open();
  const all = answered(channel, 1);
  const message = Buffer.alloc(size, 'x');
  channel.write(head('s', size * count));
  const started = performance.now();
  for (let index = 0; index < count; index++) {
    if (!channel.write(message)) await channel.drained();
  }
  await all;
  const rate = (count / (performance.now() - started)) * 1000;
  session.close();
  return rate;
}

/** Opens `count` connections with a stream each over which something was said, and keeps them. */
export async function hold(client: Client, count: number): Promise<void> {
  let left = count;
  const work = async (): Promise<void> => {
    while (left-- > 0) {
      const channel = await (await client.connect()).open();
      const back = answered(channel, 1);
      channel.write(Buffer.concat([head('e'), Buffer.from('x')]));
      await back;
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
}
