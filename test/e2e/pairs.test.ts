import { copyFile, mkdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createSelfSigned } from '../../src/base/certificate.ts';
import { systemClock } from '../../src/base/clock.ts';
import { systemRandom } from '../../src/base/random.ts';
import { personDirectory } from '../../src/peer/identity-store.ts';
import { QuicEndpoint } from '../../src/quic/index.ts';
import { FRIEND_ALPN } from '../../src/rpc/protocol.ts';
import { type Correspondent, everybodyCloses, Somebody } from './support/correspondent.ts';
import { everybodyLeaves, Person } from './support/person.ts';
import { RealCluster } from './support/real-cluster.ts';

const PAIRS = 200;
/** So many of them are there at a time. */
const AT_ONCE = 10;
const SETTLED_MS = 10_000;

let cluster: RealCluster;
/** Every connection that anybody here has dialled to a friend, by the friend's key. */
const dialled: { readonly friend: string; isOpen: boolean }[] = [];
beforeAll(async () => {
  cluster = await RealCluster.start(1, 2);
  const dial = Reflect.get<QuicEndpoint, 'dial'>(QuicEndpoint.prototype, 'dial');
  vi.spyOn(QuicEndpoint.prototype, 'dial').mockImplementation(async function (
    this: QuicEndpoint,
    options,
  ) {
    const connection = await dial.call(this, options);
    if (options.alpn === FRIEND_ALPN) {
      const friend = Buffer.from(connection.peerFingerprint).toString('hex');
      const entry = { friend, isOpen: true };
      dialled.push(entry);
      void connection.closed.then(() => (entry.isOpen = false));
    }
    return connection;
  });
});
afterEach(async () => {
  await Promise.all([everybodyLeaves(), everybodyCloses()]);
});
afterAll(async () => {
  vi.restoreAllMocks();
  await cluster[Symbol.asyncDispose]();
});

/** The connections between these two that are open, whoever dialled. */
function openBetween(one: Somebody, other: Somebody): number {
  const keys = [one, other].map(({ chatty }) =>
    Buffer.from(chatty.fingerprint.slice('sha256-'.length), 'base64url').toString('hex'),
  );
  return dialled.filter(({ friend, isOpen }) => isOpen && keys.includes(friend)).length;
}

async function theyTalk(one: Correspondent, other: Correspondent): Promise<void> {
  await Promise.all([one.tells('hello'), other.tells('hello yourself')]);
  expect(other.heard).toEqual(['hello']);
  expect(one.heard).toEqual(['hello yourself']);
}

/** Two who come at the same moment, to different servers, and find each other. */
async function meet(number: number): Promise<void> {
  const [a, b] = [`a${number}`, `b${number}`];
  const options = { registrations: 1 };
  const [alice, bob] = await Promise.all([
    Somebody.open(cluster, a, options),
    Somebody.open(cluster, b, options),
  ]);
  const [left, right] = [alice.connect(b), bob.connect(a)];
  await theyTalk(left, right);
  await expect.poll(() => openBetween(alice, bob), { timeout: SETTLED_MS }).toBe(1);
  for (const side of [left, right]) {
    expect(side.count('connected'), side.story.join()).toBe(1);
    expect(side.story).not.toContain('reconnecting');
  }
  servers.push([await alice.server(), await bob.server()]);
  await Promise.all([alice.chatty.close(), bob.chatty.close()]);
}
const servers: [string, string][] = [];

describe('pairs', () => {
  it(
    'that arrive in the same millisecond, 200 of them, settle on one connection each',
    { timeout: 120_000 },
    async () => {
      let next = 0;
      const lanes = Array.from({ length: AT_ONCE }, async () => {
        while (next < PAIRS) await meet(next++);
      });
      await Promise.all(lanes);
      // Round robin: each balancer's answer begins with the other server than the one before.
      const apart = servers.filter(([one, other]) => one !== other).length;
      console.log(`${apart} of ${PAIRS} pairs were on different servers, ${dialled.length} dials`);
      expect(apart).toBeGreaterThan(PAIRS / 2);
    },
  );

  it('50 at once all find each other', async () => {
    const numbers = Array.from({ length: 50 }, (_, index) => index);
    const people = await Promise.all(
      numbers.map((number) =>
        Promise.all([
          Somebody.open(cluster, `left${number}`),
          Somebody.open(cluster, `right${number}`),
        ]),
      ),
    );
    const talks = people.map(([one, other], number) =>
      theyTalk(one.connect(`right${number}`), other.connect(`left${number}`)),
    );
    await Promise.all(talks);
  });
});

describe('a peer', () => {
  it('wanted by two others talks to both on its one registration', async () => {
    const [alice, bob, carol] = (await Promise.all(
      (['alice', 'bob', 'carol'] as const).map((name) => Somebody.open(cluster, name)),
    )) as [Somebody, Somebody, Somebody];
    const [toBob, toCarol] = [alice.connect('bob'), alice.connect('carol')];
    const [fromBob, fromCarol] = [bob.connect('alice'), carol.connect('alice')];
    await Promise.all([theyTalk(toBob, fromBob), theyTalk(toCarol, fromCarol)]);
    expect(alice.events.filter(({ type }) => type === 'registered').length).toBeLessThanOrEqual(2);
    // The end of one says nothing to the other.
    await bob.chatty.close();
    await toCarol.tells('still there?');
    expect(fromCarol.heard).toEqual(['hello', 'still there?']);
  });

  it('whose key is known is met, although somebody else has taken the name first', async () => {
    const state = `${cluster.directory}/owner`;
    const owner = await Somebody.open(cluster, 'owner', { state });
    const key = owner.chatty.fingerprint;
    await owner.chatty.close();

    const squatter = await Somebody.open(cluster, 'owner');
    const trap = squatter.connect('seeker');
    await squatter.until('registered');
    const seeker = await Somebody.open(cluster, 'seeker');
    const search = seeker.connect('owner', key);
    await seeker.until('registered');

    const back = await Somebody.open(cluster, 'owner', { state });
    await theyTalk(back.connect('seeker'), search);
    expect((await search.until('connected')).fingerprint).toBe(key);
    expect(trap.story).toEqual(['waiting']);
  });

  it('that leaves and comes back is met again', async () => {
    const state = `${cluster.directory}/returning`;
    const stays = await Somebody.open(cluster, 'stays');
    const waits = stays.connect('returns');
    for (let round = 1; round <= 3; round++) {
      const returns = await Somebody.open(cluster, 'returns', { state });
      const again = returns.connect('stays');
      await Promise.all([again.tells(`round ${round}`), waits.hears(`round ${round}`)]);
      await again.conversation.goodbye();
      await returns.chatty.close();
    }
    expect(waits.count('connected')).toBe(3);
    expect(waits.count('left')).toBe(3);
    expect(waits.heard).toEqual(['round 1', 'round 2', 'round 3']);
  });

  it('that leaves and comes back in the same process is met again, too', async () => {
    const stays = await Somebody.open(cluster, 'sitter');
    const returns = await Somebody.open(cluster, 'rover');
    const waits = stays.connect('rover');
    for (let round = 1; round <= 2; round++) {
      const again = returns.connect('sitter');
      await Promise.all([again.tells(`out ${round}`), waits.tells(`back ${round}`)]);
      await waits.hears(`out ${round}`);
      expect(again.heard).toEqual([`back ${round}`]);
      await again.conversation.goodbye();
    }
    expect(waits.heard).toEqual(['out 1', 'out 2']);
    expect(waits.count('connected')).toBe(2);
    expect(waits.story).not.toContain('error');
  });

  it('with one key under two names is two friends', async () => {
    const state = `${cluster.directory}/twins`;
    const [one, other] = ['castor', 'pollux'].map((name) => personDirectory(state, name));
    const castor = await Somebody.open(cluster, 'castor', { state });
    await mkdir(other ?? '', { recursive: true, mode: 0o700 });
    await copyFile(`${one ?? ''}/identity.pem`, `${other ?? ''}/identity.pem`);
    const pollux = await Somebody.open(cluster, 'pollux', { state });
    expect(pollux.chatty.fingerprint).toBe(castor.chatty.fingerprint);
    const leda = await Somebody.open(cluster, 'leda');
    const [toCastor, toPollux] = [leda.connect('castor'), leda.connect('pollux')];
    // Whoever comes later dials.
    await leda.until('registered');
    const [fromCastor, fromPollux] = [castor.connect('leda'), pollux.connect('leda')];
    await Promise.all([theyTalk(toCastor, fromCastor), theyTalk(toPollux, fromPollux)]);
    for (const side of [toCastor, toPollux, fromCastor, fromPollux]) {
      expect(side.story).not.toContain('reconnecting');
    }
  });

  it('that ends a conversation without a word and begins another goes on in both directions', async () => {
    const stays = await Somebody.open(cluster, 'listener');
    const returns = await Somebody.open(cluster, 'abrupt');
    const waits = stays.connect('abrupt');
    for (let round = 1; round <= 3; round++) {
      const again = returns.connect('listener');
      await Promise.all([again.tells(`out ${round}`), waits.tells(`back ${round}`)]);
      expect(again.heard).toEqual([`back ${round}`]);
      again.conversation.close();
    }
    expect(waits.heard).toEqual(['out 1', 'out 2', 'out 3']);
    expect(waits.story).not.toContain('error');
  });

  it('whose process is replaced by a newer one ends with 77, and the friend goes on with the newer', async () => {
    const bob = Person.chat(cluster, 'bert', 'ada');
    const older = Person.chat(cluster, 'ada', 'bert');
    older.say('from the older');
    await bob.hears('from the older');
    await older.until('delivered');
    const newer = Person.chat(cluster, 'ada', 'bert');
    expect(await older.ended()).toEqual({ code: 77, signal: null });
    expect(older.program.stderr).toMatch(/newer/);
    newer.say('from the newer');
    await bob.hears('from the newer');
    bob.say('to the newer');
    await newer.hears('to the newer');
    expect(bob.heard).toEqual(['from the older', 'from the newer']);
  });
});

it('peers on IPv6 alone find each other', async ({ skip }) => {
  const probe = await QuicEndpoint.open({
    identity: await createSelfSigned('peer'),
    clock: systemClock,
    random: systemRandom,
    listen: [{ host: '::1', port: 0 }],
    alpn: [],
  }).catch(() => skip('this computer has no IPv6'));
  await probe.close();
  await using six = await RealCluster.start(1, 2, '[::1]');
  const alice = Person.chat(six, 'alice', 'bob');
  const bob = Person.chat(six, 'bob', 'alice');
  alice.say('six?');
  await bob.hears('six?');
  expect(String((await bob.until('connected'))['remote'])).toMatch(/^\[/);
});
