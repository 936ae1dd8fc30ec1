import { describe, expect, it } from 'vitest';
import { seededRandom, type Random } from '../../src/base/random.ts';
import type { SessionEffect } from '../../src/chat/session-events.ts';
import { ConversationSession } from '../../src/chat/session.ts';
import { formatSession } from '../../src/rpc/session-id.ts';
import type { SessionId } from '../../src/rpc/generated/chatty/v1/common.ts';
import type { FriendGreeting } from '../../src/peer/link-events.ts';
import { PeerFrame } from '../../src/rpc/generated/chatty/v1/peer.ts';

const SEEDS = 1_500;
const STEPS = 120;

/** What one program wrote: who said it (person, session), the id, the text. */
interface Written {
  readonly session: string;
  readonly id: number;
  readonly text: string;
}

/** One run of one person's program. */
class Process {
  readonly session: SessionId;
  machine = new ConversationSession();
  readonly written: Written[] = [];
  readonly acknowledged: number[] = [];
  readonly taken: { number: number; line: Written }[] = [];
  said = 0;
  ended = false;
  friendEnded = 0;
  /** Ids that an earlier conversation of this program's took with it, not known to be delivered. */
  readonly dropped = new Set<number>();

  constructor(session: SessionId) {
    this.session = session;
  }
}

type Wire = { frame: Uint8Array } | { hello: SessionId; greeting: FriendGreeting };

/** Two people, one connection at a time, and everything that can go wrong between them. */
class World {
  readonly #random: Random;
  readonly people: [Process, Process];
  readonly past: [Process[], Process[]] = [[], []];
  /** Bytes under way to person 0 and to person 1; undefined while there is no connection. */
  #wires: [Wire[], Wire[]] | undefined;
  #starts = 0;

  constructor(random: Random) {
    this.#random = random;
    this.people = [this.#start(), this.#start()];
  }

  #start(): Process {
    const startedAt = BigInt(++this.#starts);
    return new Process({ startedAt, nonce: Buffer.from(this.#random.bytes(16)) });
  }

  step(who: 0 | 1, input: Parameters<ConversationSession['step']>[0]): void {
    const me = this.people[who];
    for (const effect of me.machine.step(input, 0)) this.#act(who, me, effect);
  }

  #act(who: 0 | 1, me: Process, effect: SessionEffect): void {
    switch (effect.type) {
      case 'send':
        this.#wires?.[who === 0 ? 1 : 0].push({ frame: PeerFrame.encode(effect.frame).finish() });
        break;
      case 'deliver': {
        const line = { session: formatSession(effect.session), id: effect.id, text: effect.text };
        me.taken.push({ number: effect.number, line });
        break;
      }
      case 'acknowledged':
        me.acknowledged.push(effect.id);
        break;
      case 'friend-ended':
        me.friendEnded++;
        break;
      case 'fault':
        throw new Error(`person ${who}: ${effect.message}`);
      default:
        break;
    }
  }

  connect(): void {
    if (this.#wires !== undefined) return;
    this.#wires = [[], []];
    const dialer = this.#random.below(2) as 0 | 1;
    const [me, friend] = dialer === 0 ? this.people : [this.people[1], this.people[0]];
    const greeting = me.machine.greeting(friend.session);
    this.#wires[dialer === 0 ? 1 : 0].push({ hello: me.session, greeting });
    // The dialer does not wait for the welcome: messages flow at once.
    this.step(dialer, { type: 'connected', friendSession: friend.session });
  }

  break(): void {
    if (this.#wires === undefined) return;
    this.#wires = undefined;
    this.step(0, { type: 'disconnected' });
    this.step(1, { type: 'disconnected' });
  }

  restart(who: 0 | 1): void {
    this.break();
    this.past[who].push(this.people[who]);
    this.people[who] = this.#start();
  }

  /** A program ends its conversation without a word and begins another. */
  renew(who: 0 | 1): void {
    const me = this.people[who];
    if (me.ended) return;
    this.break();
    for (let id = 1; id <= me.said; id++) if (!me.acknowledged.includes(id)) me.dropped.add(id);
    me.machine = new ConversationSession(me.machine.memory);
    me.taken.splice(0);
  }

  /** One thing arrives at `who`. */
  arrive(who: 0 | 1): boolean {
    const next = this.#wires?.[who].shift();
    if (next === undefined) return false;
    if ('frame' in next) {
      const frame = PeerFrame.decode(next.frame);
      if (frame.kind?.$case === 'welcome') {
        const { conversation, receivedUpTo } = frame.kind.value;
        const greeting = { conversation, toConversation: undefined, receivedUpTo };
        this.step(who, { type: 'greeted', greeting });
      } else this.step(who, { type: 'frame', frame });
      return true;
    }
    const { conversation, receivedUpTo } = this.people[who].machine.greeting(
      next.hello,
      next.greeting.conversation,
    );
    const welcome = PeerFrame.encode({
      kind: { $case: 'welcome', value: { conversation, receivedUpTo, generation: 0 } },
    }).finish();
    this.#wires?.[who === 0 ? 1 : 0].push({ frame: welcome });
    this.step(who, {
      type: 'connected',
      friendSession: next.hello,
      greeting: next.greeting,
    });
    return true;
  }

  /** The program of `who` writes the next `count` lines it was given. */
  write(who: 0 | 1, count: number): boolean {
    const me = this.people[who];
    const lines = me.taken.splice(0, count);
    const last = lines.at(-1);
    if (last === undefined) return false;
    me.written.push(...lines.map(({ line }) => line));
    this.step(who, { type: 'delivered', number: last.number });
    return true;
  }

  say(who: 0 | 1): void {
    const me = this.people[who];
    if (me.ended) return;
    me.said++;
    this.step(who, { type: 'submit', text: textOf(me, me.said) });
  }

  end(who: 0 | 1): void {
    this.people[who].ended = true;
    this.step(who, { type: 'end-input' });
  }

  /** No more faults: everything arrives and is written. */
  settle(): void {
    this.connect();
    let moved = true;
    while (moved) {
      const moves = ([0, 1] as const).map((who) => [this.arrive(who), this.write(who, 10)]);
      moved = moves.flat().includes(true);
    }
  }
}

const textOf = (speaker: Process, id: number): string => `${formatSession(speaker.session)}/${id}`;

/** Every rule of invariant 6 for what `receiver`'s processes wrote of `speakers`'. */
function check(speakers: Process[], receivers: Process[]): void {
  for (const receiver of receivers) {
    const keys = receiver.written.map(({ session, id }) => `${session}/${id}`);
    expect(new Set(keys).size, 'exactly once in one process').toBe(keys.length);
    expect(receiver.written.map(({ text }) => text)).toEqual(keys);
    for (const speaker of speakers) {
      const session = formatSession(speaker.session);
      const ids = receiver.written.filter((line) => line.session === session).map(({ id }) => id);
      const due = Array.from({ length: speaker.said }, (_, index) => index + 1).filter(
        (id) => id >= (ids[0] ?? Infinity) && (ids.includes(id) || !speaker.dropped.has(id)),
      );
      expect(ids, 'in order, without gaps').toEqual(due.slice(0, ids.length));
    }
  }
  const all = new Set(receivers.flatMap(({ written }) => written.map(({ text }) => text)));
  for (const speaker of speakers) {
    for (const id of speaker.acknowledged) {
      expect(all, 'shown as delivered').toContain(textOf(speaker, id));
    }
    expect(new Set(speaker.acknowledged).size).toBe(speaker.acknowledged.length);
  }
  // A process that still runs has got everything across.
  const speaker = speakers.at(-1);
  if (speaker === undefined) return;
  expect(speaker.machine.unacknowledged).toBe(0);
  for (let id = 1; id <= speaker.said; id++) {
    if (!speaker.dropped.has(id)) expect(all).toContain(textOf(speaker, id));
  }
}

interface Troubles {
  readonly restarts: boolean;
  readonly renewals: boolean;
}

function run(seed: number, { restarts, renewals }: Troubles): void {
  const random = seededRandom(seed);
  const world = new World(random);
  for (let step = 0; step < STEPS; step++) {
    const who = random.below(2) as 0 | 1;
    const dice = random.below(100);
    if (dice < 30) world.say(who);
    else if (dice < 65) world.arrive(who);
    else if (dice < 80) world.write(who, 1 + random.below(3));
    else if (dice < 90) world.connect();
    else if (dice < 97) world.break();
    else if (dice < 98) world.end(who);
    else if (dice < 99 && restarts) world.restart(who);
    else if (renewals) world.renew(who);
  }
  if (restarts && random.below(2) === 0) world.restart(random.below(2) as 0 | 1);
  world.break();
  world.settle();
  const people = ([0, 1] as const).map((who) => [...world.past[who], world.people[who]]);
  const [first = [], second = []] = people;
  check(first, second);
  check(second, first);
  const [one, other] = world.people;
  if (other.ended) expect(one.friendEnded).toBeGreaterThan(0);
  if (one.ended) expect(other.friendEnded).toBeGreaterThan(0);
}

describe.each<[string, Troubles]>([
  ['between two programs that live', { restarts: false, renewals: false }],
  ['across restarts of either program', { restarts: true, renewals: false }],
  ['across conversations of two programs', { restarts: false, renewals: true }],
  ['across both', { restarts: true, renewals: true }],
])('messages %s', (_, troubles) => {
  it(`arrive exactly once and in order over connections that break, ${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        run(seed, troubles);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });
});
