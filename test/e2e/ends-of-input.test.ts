import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { RealCluster } from './support/real-cluster.ts';

/* The sentences of the contract's paragraph "End of input means …", on real processes. */

/** Until a goodbye after one's last words, and until a friend who vanished is given up: 5 s. */
const LISTENS_MS = 6_000;
/** A path is lost after 6.5 s; then reconnecting takes its time, and giving up 5 s. */
const VANISHED_MS = 50_000;

let cluster: RealCluster;
beforeAll(async () => {
  cluster = await RealCluster.start(1, 2);
});
afterAll(async () => {
  await everybodyLeaves();
  await cluster[Symbol.asyncDispose]();
});

let pairs = 0;
/** Two who are new; @returns alice, bob. */
function pair(): [Person, Person] {
  const [alice, bob] = [`alice${++pairs}`, `bob${pairs}`];
  return [Person.chat(cluster, alice, bob), Person.chat(cluster, bob, alice)];
}

const DONE = { code: 0, signal: null };
const INTERRUPTED = { code: 130, signal: null };

describe.concurrent('the end of input', () => {
  it('on both sides ends both at once when every line is delivered', async () => {
    const [alice, bob] = pair();
    alice.say('one', 'two');
    alice.program.write('three, without a newline');
    alice.program.endInput();
    await alice.until('connected');
    bob.say('four');
    bob.program.endInput();
    const endings = await Promise.all([alice.ended(), bob.ended()]);
    expect(endings).toEqual([DONE, DONE]);
    expect(bob.heard).toEqual(['one', 'two', 'three, without a newline']);
    expect(alice.heard).toEqual(['four']);
    expect([alice.count('delivered'), bob.count('delivered')]).toEqual([3, 1]);
    expect(alice.count('connected')).toBe(1);
  });

  it('before anybody is there still delivers every line', async () => {
    const alice = Person.chat(cluster, 'early', 'late');
    alice.say('I was here');
    alice.program.endInput();
    await alice.until('registered');
    const bob = Person.chat(cluster, 'late', 'early');
    await bob.hears('I was here');
    bob.program.endInput();
    expect(await Promise.all([alice.ended(), bob.ended()])).toEqual([DONE, DONE]);
  });

  it('on both sides without a line ends both', async () => {
    const [alice, bob] = pair();
    alice.program.endInput();
    bob.program.endInput();
    expect(await Promise.all([alice.ended(), bob.ended()])).toEqual([DONE, DONE]);
    expect([alice.count('connected'), bob.count('connected')]).toEqual([1, 1]);
  });

  it('after lines says goodbye after a while to a friend whose input stays open, who waits again', async () => {
    const [alice, bob] = pair();
    alice.say('that is all');
    alice.program.endInput();
    expect(await alice.ended()).toEqual(DONE);
    await bob.until('disconnected');
    await bob.until('waiting', () => true, bob.story.indexOf('disconnected'));
    expect(bob.heard).toEqual(['that is all']);
    // His input ends before anyone is there again: nothing is left to do.
    bob.program.endInput();
    expect(await bob.ended()).toEqual(DONE);
  });

  it('without lines waits for the friend’s end', async () => {
    const [alice, bob] = pair();
    alice.program.endInput();
    await Promise.all([alice.until('connected'), bob.until('connected')]);
    await systemClock.sleep(LISTENS_MS);
    bob.say('I had to think');
    await alice.hears('I had to think');
    bob.program.endInput();
    expect(await Promise.all([alice.ended(), bob.ended()])).toEqual([DONE, DONE]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'without lines waits for a goodbye, as of %s',
    async (signal) => {
      const [alice, bob] = pair();
      alice.program.endInput();
      await Promise.all([alice.until('connected'), bob.until('connected')]);
      bob.program.signal(signal);
      expect(await Promise.all([alice.ended(), bob.ended()])).toEqual([DONE, INTERRUPTED]);
    },
  );

  it('without anything unacknowledged ends when the friend vanishes', async () => {
    const [alice, bob] = pair();
    alice.say('do you get this?');
    await bob.hears('do you get this?');
    await alice.until('delivered');
    bob.program.signal('SIGKILL');
    alice.program.endInput();
    expect(await alice.ended(VANISHED_MS)).toEqual(DONE);
  });

  it('with a line unacknowledged waits for the friend to come back', async () => {
    const [alice, bob] = pair();
    const [first, second] = [`alice${pairs}`, `bob${pairs}`];
    alice.say('before');
    await bob.hears('before');
    await alice.until('delivered');
    bob.program.signal('SIGKILL');
    await bob.program.ended;
    alice.say('after');
    alice.program.endInput();
    await alice.until('sent', ({ text }) => text === 'after');
    const again = Person.chat(cluster, second, first);
    await again.hears('after');
    again.program.endInput();
    expect(await Promise.all([alice.ended(), again.ended()])).toEqual([DONE, DONE]);
    expect(again.heard).toEqual(['after']);
    expect(alice.count('connected')).toBe(2);
  });
});

describe.concurrent('the input', () => {
  it('may hold lines that cannot be sent, which are told, and the others go', async () => {
    const [alice, bob] = pair();
    const longest = 'é'.repeat(32_768);
    alice.say(longest, `${longest}x`);
    alice.program.write(Buffer.from([0x66, 0xff, 0x66, 0x0a]));
    alice.say('the last', '', 'really');
    alice.program.endInput();
    bob.program.endInput();
    expect(await Promise.all([alice.ended(), bob.ended()])).toEqual([DONE, DONE]);
    expect(bob.heard).toEqual([longest, 'the last', '', 'really']);
    const errors = alice.events.filter(({ event }) => event === 'error');
    expect(errors).toEqual([
      expect.objectContaining({
        code: 'CHATTY_MESSAGE_TOO_LONG',
        message: expect.stringContaining('line 2') as string,
      }),
      expect.objectContaining({
        code: 'CHATTY_NOT_UTF8',
        message: expect.stringContaining('line 3') as string,
      }),
    ]);
    expect(alice.count('sent')).toBe(4);
  });

  it('may be long: 20,000 lines arrive once each and in order', async () => {
    const [alice, bob] = pair();
    const lines = Array.from({ length: 20_000 }, (_, index) => `line ${index}`);
    alice.say(...lines);
    alice.program.endInput();
    bob.program.endInput();
    expect(await Promise.all([alice.ended(), bob.ended()])).toEqual([DONE, DONE]);
    expect(bob.heard).toEqual(lines);
    expect(alice.count('delivered')).toBe(lines.length);
  });
});

it('what is told has the fields of the contract', async () => {
  const [alice, bob] = pair();
  alice.say('first', 'second');
  await bob.hears('second');
  bob.say('back');
  await alice.hears('back');
  await alice.until('delivered', ({ id }) => id === 2);
  const [name, friend] = [`alice${pairs}`, `bob${pairs}`];
  const at = expect.any(Number) as number;
  const address = expect.stringMatching(/^(\d+\.\d+\.\d+\.\d+|\[[\da-f:]+\]):\d+$/) as string;
  const event = (kind: string): unknown => alice.events.find((each) => each['event'] === kind);
  expect(event('waiting')).toEqual({ event: 'waiting', at, friend });
  expect(event('registered')).toEqual({
    event: 'registered',
    at,
    server: address,
    observed: address,
  });
  expect(event('matched')).toEqual({ event: 'matched', at, friend });
  expect(event('connected')).toEqual({
    ...{ event: 'connected', at, friend, path: 'direct', local: address, remote: address },
    kind: expect.stringMatching(/^(host|srflx|prflx)$/) as string,
    sinceStartMs: at,
    sinceMatchMs: at,
    fingerprint: expect.stringMatching(/^sha256-[\w-]{43}$/) as string,
    trust: 'first-use',
  });
  expect(event('sent')).toEqual({ event: 'sent', at, id: 1, text: 'first' });
  expect(event('delivered')).toEqual({ event: 'delivered', at, id: 1 });
  expect(event('message')).toMatchObject({
    event: 'message',
    at,
    from: friend,
    id: 1,
    text: 'back',
  });
  expect(bob.events.find((each) => each['event'] === 'message')).toMatchObject({ from: name });
  const times = alice.events.map((each) => Number(each['at']));
  expect(times).toEqual([...times].sort((one, other) => one - other));
  const servers = alice.events.filter((each) => each['event'] === 'registered');
  expect(new Set(servers.map(({ server }) => server)).size).toBe(servers.length);
});
