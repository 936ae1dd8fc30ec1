import { contenders, isContender } from './contenders.ts';
import { createSelfSigned } from '../../../src/base/certificate.ts';
import type { Channel } from './contender.ts';

/**
 * The serving process. A channel begins with a byte for what it is for and a count of eight:
 * `e` echoes what follows; `s` counts that many bytes and answers one byte when all are there.
 */
const HEAD_BYTES = 9;

function serveChannel(channel: Channel): void {
  let head: Buffer | undefined = Buffer.alloc(0);
  let echo = false;
  let missing = 0;
  channel.onData((bytes) => {
    let rest = bytes;
    if (head !== undefined) {
      head = Buffer.concat([head, bytes]);
      if (head.length < HEAD_BYTES) return;
      echo = head[0] === 0x65;
      missing = Number(head.readBigUInt64BE(1));
      rest = head.subarray(HEAD_BYTES);
      head = undefined;
    }
    if (echo) {
      if (rest.length > 0) channel.write(rest);
      return;
    }
    missing -= rest.length;
    if (missing === 0) channel.write(Buffer.from('k'));
  });
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function usage() {
  const before = cpuMs();
  for (let count = 0; count < 3; count++) globalThis.gc?.();
  return { rssBytes: process.memoryUsage.rss(), cpuMs: before, cpuAfterMs: cpuMs() };
}

const name = process.argv[2] ?? '';
if (!isContender(name)) throw new Error(`no contender ${name}`);
const server = await contenders[name].serve(await createSelfSigned('server.invalid'), serveChannel);
process.on('message', () => process.send?.(usage()));
process.on('disconnect', () => process.exit());
process.send?.({ port: server.port });
