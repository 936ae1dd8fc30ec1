/**
 * Runs in the network namespace of who asks: takes probes as JSON from standard input, all at once,
 * and writes their results to standard output.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { encodeServerProbe } from '../../../src/path/stun-server.ts';
import type { Probe, ProbeResult } from './probe.ts';

/** A wire takes microseconds here; programs on a busy machine take longer to answer. */
const SILENCE_MS = 2_500;
const AGAIN_MS = 500;

const probes = JSON.parse(await text(process.stdin)) as Probe[];
const results = await Promise.all(
  probes.map((probe) => (probe.protocol === 'tcp' ? askTcp(probe) : askUdp(probe))),
);
process.stdout.write(JSON.stringify(results));

function askTcp({ address, port }: Probe): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    const end = (result: ProbeResult): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(end, SILENCE_MS, 'silent');
    socket.once('connect', () => end('open'));
    socket.once('error', () => end('refused'));
  });
}

/** A STUN Binding request (RFC 8489), which every server of ours answers. */
function askUdp({ address, port }: Probe): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const end = (result: ProbeResult): void => {
      clearTimeout(timer);
      clearInterval(again);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(end, SILENCE_MS, 'silent');
    const ask = (): void => socket.send(encodeServerProbe(randomBytes(12)), () => undefined);
    const again = setInterval(ask, AGAIN_MS);
    socket.once('message', () => end('open'));
    socket.once('error', () => end('refused'));
    socket.connect(port, address, ask);
  });
}
