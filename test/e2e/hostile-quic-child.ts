/** A process that holds connections to `127.0.0.1:PORT`, each with an open stream, until it dies. */
import { createSelfSigned } from '../../src/base/certificate.ts';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { QuicEndpoint } from '../../src/quic/index.ts';

const [, , port, count, alpn = ''] = process.argv;
const endpoint = await QuicEndpoint.open({
  identity: await createSelfSigned('hostile.invalid'),
  clock: systemClock,
  random: systemRandom,
  listen: [{ host: '127.0.0.1', port: 0 }],
  alpn: [alpn],
});
for (let index = 0; index < Number(count); index++) {
  const remote = { host: '127.0.0.1', port: Number(port) };
  const connection = await endpoint.dial({ remote, alpn, verify: () => true, keepAliveMs: 100 });
  connection.openStream().write('never ended');
}
process.stdout.write('connected\n');
