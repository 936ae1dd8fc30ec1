import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { dialServer, openEndpoint, until } from './harness.ts';

/** First datagrams of as many real clients, that never say anything more. */
export async function firstInitials(count: number): Promise<Buffer[]> {
  // By destination ID, since a client says the same again when it hears nothing.
  const initials = new Map<string, Buffer>();
  const sink = createSocket('udp4').bind(0, '127.0.0.1');
  await once(sink, 'listening');
  sink.on('message', (datagram) => initials.set(datagram.toString('hex', 6, 22), datagram));
  const client = await openEndpoint();
  const remote = { host: '127.0.0.1', port: sink.address().port };
  // A few at a time, so that the sink loses none.
  for (let dialled = 0; dialled < count; dialled += 20) {
    for (let index = dialled; index < Math.min(count, dialled + 20); index++) {
      void dialServer(client, remote).catch(() => undefined);
    }
    const expected = Math.min(count, dialled + 20);
    await until(() => initials.size >= expected);
  }
  await client.close();
  sink.close();
  return [...initials.values()].slice(0, count);
}
