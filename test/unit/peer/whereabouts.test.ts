import { describe, expect, it } from 'vitest';
import { type Address, formatAddress } from '../../../src/base/address.ts';
import type { ServerObservation } from '../../../src/path/index.ts';
import { type Informed, Whereabouts } from '../../../src/peer/whereabouts.ts';
import { addressToWire } from '../../../src/rpc/wire-address.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const V4: Address = { host: '203.0.113.1', port: 4433 };
const V6: Address = { host: '2001:db8::1', port: 4433 };
const OTHER: Address = { host: '203.0.113.2', port: 4433 };
const SEEN: Address = { host: '198.51.100.7', port: 7000 };

/** A server that is registered with by its IPv4 address, and has others. */
class Server implements Informed {
  readonly server: Informed['server'];
  readonly remote: Address;
  readonly tunnel = undefined;
  readonly #story: string[];
  isAwaited = false;

  constructor(id: string, addresses: readonly Address[], story: string[]) {
    const [remote = V4] = addresses;
    this.remote = remote;
    this.#story = story;
    this.server = { id, addresses: addresses.map(addressToWire), certificate: Buffer.alloc(0) };
  }

  ping(): void {
    this.isAwaited = true;
    this.#story.push(`${this.server.id} pinged`);
  }

  updateEndpoint(cookies: readonly Uint8Array[]): void {
    const words = cookies.map((cookie) => Buffer.from(cookie).toString()).join(', ');
    this.#story.push(`${this.server.id} told [${words}]`);
  }
}

/** A peer that is registered with two servers. */
class Subject {
  readonly clock = new VirtualClock();
  readonly #story: string[] = [];
  readonly #questions: [Address, (answer: ServerObservation | undefined) => void][] = [];
  readonly a = new Server('a', [V4, V6], this.#story);
  readonly b = new Server('b', [OTHER], this.#story);
  servers = [this.a, this.b];
  readonly whereabouts = new Whereabouts<Server>({
    clock: this.clock,
    families: new Set([4, 6] as const),
    standing: () => this.servers,
    observe: (remote) => new Promise((resolve) => this.#questions.push([remote, resolve])),
    silent: ({ server: { id } }) => this.#story.push(`${id} silent`),
    heard: ({ server: { id } }) => this.#story.push(`${id} heard`),
  });

  /** What was done since last asked. */
  async story(): Promise<string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.#story.splice(0);
  }

  get asked(): string[] {
    return this.#questions.map(([remote]) => formatAddress(remote));
  }

  /** Answers all questions asked of this address so far, or lets them time out. */
  answer(remote: Address, cookie?: string): void {
    const answer = cookie === undefined ? undefined : { mapped: SEEN, cookie: Buffer.from(cookie) };
    for (const [asked, resolve] of this.#questions.splice(0)) {
      if (formatAddress(asked) === formatAddress(remote)) resolve(answer);
      else this.#questions.push([asked, resolve]);
    }
  }

  async goOn(ms: number): Promise<string[]> {
    this.clock.runUntil(this.clock.now() + ms);
    return this.story();
  }
}

describe('a registration that begins', () => {
  it('is told what is seen at the addresses that it does not come from', async () => {
    const subject = new Subject();
    void subject.whereabouts.begin(subject.a);
    expect(subject.asked).toEqual(['[2001:db8::1]:4433']);
    subject.answer(V6, 'six');
    expect(await subject.story()).toEqual(['a told [six]']);
  });

  it('is told nothing where nobody answers', async () => {
    const subject = new Subject();
    void subject.whereabouts.begin(subject.a);
    subject.answer(V6);
    expect(await subject.story()).toEqual([]);
  });
});

describe('what a peer says of itself', () => {
  it('comes with what was proven before, as long as that holds', async () => {
    const subject = new Subject();
    void subject.whereabouts.begin(subject.a);
    subject.answer(V6, 'six');
    await subject.story();
    await subject.goOn(44_999);
    subject.whereabouts.repeat();
    expect(await subject.story()).toEqual(['a told [six]', 'b told []']);
    await subject.goOn(1);
    subject.whereabouts.repeat();
    expect(await subject.story()).toEqual(['b told []']);
    subject.answer(V4, 'four');
    subject.answer(V6, 'new six');
    expect(await subject.story()).toEqual(['a told [four, new six]']);
  });
});

describe('a peer that has moved', () => {
  it('tells every server at once, and each where it is seen with the first answer', async () => {
    const subject = new Subject();
    subject.whereabouts.move();
    expect(await subject.story()).toEqual(['a told []', 'b told []', 'a pinged', 'b pinged']);
    subject.answer(V4, 'four');
    expect(await subject.story()).toEqual(['a told [four]']);
    subject.answer(V6, 'six');
    subject.answer(OTHER, 'b four');
    expect(await subject.story()).toEqual(['b told [b four]', 'a told [four, six]']);
  });

  it('seeks others beside servers that do not answer within 1.5 s, until they do', async () => {
    const subject = new Subject();
    subject.whereabouts.move();
    await subject.story();
    subject.b.isAwaited = false;
    expect(await subject.goOn(1_499)).toEqual([]);
    expect(await subject.goOn(1)).toEqual(['a silent']);
    subject.a.isAwaited = false;
    expect(await subject.goOn(2_000)).toEqual(['a heard', 'b heard']);
  });

  it('expects nothing of servers that it has left since', async () => {
    const subject = new Subject();
    subject.whereabouts.move();
    await subject.story();
    subject.servers = [subject.b];
    expect(await subject.goOn(10_000)).toEqual(['b silent']);
  });

  it('does not go by answers from where it was before', async () => {
    const subject = new Subject();
    subject.servers = [subject.b];
    subject.whereabouts.move();
    await subject.goOn(1_000);
    subject.whereabouts.move();
    await subject.story();
    const [, late] = [...subject.asked];
    expect(late).toBe('203.0.113.2:4433');
    subject.answer(OTHER, 'of both');
    // The question of the first move is answered too, and is not told after the second's.
    const told = (await subject.story()).filter((line) => line.includes('told'));
    expect(told.at(-1)).toBe('b told [of both]');
  });
});

describe('a doubt', () => {
  it('makes servers look where this peer is, every 3 s at most', async () => {
    const subject = new Subject();
    subject.servers = [subject.b];
    subject.whereabouts.doubt();
    expect(await subject.story()).toEqual(['b pinged']);
    subject.b.isAwaited = false;
    subject.answer(OTHER, 'four');
    expect(await subject.story()).toEqual(['b told [four]']);
    await subject.goOn(2_999);
    subject.whereabouts.doubt();
    expect(await subject.story()).toEqual([]);
    await subject.goOn(1);
    subject.whereabouts.doubt();
    expect(await subject.story()).toEqual(['b pinged']);
  });

  it('is none any more once everything is closed', async () => {
    const subject = new Subject();
    subject.whereabouts.doubt();
    await subject.story();
    subject.whereabouts.close();
    subject.answer(OTHER, 'late');
    subject.whereabouts.doubt();
    expect(await subject.goOn(10_000)).toEqual([]);
    expect(subject.clock.nextAt).toBeUndefined();
  });
});

describe('a server that registers this peer while something changes', () => {
  it('is told after the others, for its hello said what was', async () => {
    const subject = new Subject();
    subject.servers = [subject.b];
    await subject.goOn(10_000);
    subject.whereabouts.repeat();
    expect(await subject.story()).toEqual(['b told []']);
    await subject.goOn(1_000);
    void subject.whereabouts.begin(subject.a);
    expect(await subject.story()).toEqual(['a told []']);
    await subject.goOn(10_000);
    void subject.whereabouts.begin(subject.a);
    expect(await subject.story()).toEqual([]);
  });
});
