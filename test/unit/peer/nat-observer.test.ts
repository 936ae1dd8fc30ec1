import { expect, it } from 'vitest';
import { type Address, sameAddress } from '../../../src/base/address.ts';
import { NatObserver } from '../../../src/peer/nat-observer.ts';
import type { NatReport } from '../../../src/path/index.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const OUTER = { host: '203.0.113.7', port: 6000 };
const STRICT_PORT = 443;

function server(last: number, port: number): Address {
  return { host: `198.51.100.${last}`, port };
}

/** What is reported where these servers are known, and those of them answer at once. */
async function reportOf(
  known: readonly Address[],
  answers: (server: Address) => boolean,
): Promise<{ report: NatReport | undefined; asked: readonly Address[] }> {
  const clock = new VirtualClock();
  const asked: Address[] = [];
  const observer = new NatObserver({
    clock,
    openSocket: () => Promise.resolve({ host: '0.0.0.0', port: 50_000 }),
    closeSocket: () => Promise.resolve(),
    ask: (address) => {
      asked.push(address);
      const answer = { mapped: OUTER, cookie: new Uint8Array() };
      return Promise.resolve(answers(address) ? answer : undefined);
    },
    interfaces: () => ({}),
    reported: () => undefined,
  });
  observer.learn(known);
  await observer.classify();
  return { report: observer.report, asked };
}

const both = [1, 2, 3].flatMap((last) => [server(last, 4433), server(last, STRICT_PORT)]);

it.each([
  ['servers answer at port 443 only', both, ({ port }: Address) => port === STRICT_PORT, true],
  ['they answer at every port', both, () => true, false],
  [
    'one of three answers elsewhere',
    both,
    (each: Address) => each.port === STRICT_PORT || sameAddress(each, server(2, 4433)),
    false,
  ],
  [
    'those that do not answer elsewhere have no port 443, and may be down',
    [server(1, STRICT_PORT), server(2, STRICT_PORT), server(3, 4433)],
    ({ port }: Address) => port === STRICT_PORT,
    false,
  ],
])('where %s', async (_why, known, answers, only443) => {
  const { report } = await reportOf(known, answers);
  expect(report).toMatchObject({ mapping: 'endpoint-independent', only443 });
});

it('knows which way ports count, in whatever order the answers come', async () => {
  const waiting: (() => void)[] = [];
  let port = OUTER.port;
  const observer = new NatObserver({
    clock: new VirtualClock(),
    openSocket: () => Promise.resolve({ host: '0.0.0.0', port: 50_000 }),
    closeSocket: () => Promise.resolve(),
    ask: () => {
      const answer = { mapped: { ...OUTER, port: port++ }, cookie: new Uint8Array() };
      return new Promise((resolve) => waiting.push(() => resolve(answer)));
    },
    interfaces: () => ({}),
    reported: () => undefined,
  });
  observer.learn([1, 2, 3].map((last) => server(last, 4433)));
  const done = observer.classify();
  while (waiting.length < 3) await new Promise((resolve) => setImmediate(resolve));
  for (const answer of waiting.reverse()) answer();
  await done;
  const lastObserved = { ...OUTER, port: OUTER.port + 2 };
  expect(observer.report).toMatchObject({ mapping: 'sequential', step: 1, lastObserved });
});

it('asks port 443 of two servers however many there are, and no more addresses for that', async () => {
  const many = Array.from({ length: 20 }, (_, index) => index + 1);
  const known = [4433, STRICT_PORT].flatMap((port) => many.map((last) => server(last, port)));
  const { report, asked } = await reportOf(known, ({ port }) => port === STRICT_PORT);
  expect(asked.filter(({ port }) => port === STRICT_PORT)).toHaveLength(2);
  expect(asked).toHaveLength(6);
  expect(report?.only443).toBe(true);
});
