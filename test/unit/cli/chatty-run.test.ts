import { setImmediate } from 'node:timers/promises';
import { PassThrough, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { ChattyError } from '../../../src/base/errors.ts';
import { EventQueue } from '../../../src/base/event-queue.ts';
import type { ChattyEvent } from '../../../src/chat/chatty.ts';
import type { ConversationEvent } from '../../../src/chat/conversation.ts';
import { ChatRun } from '../../../src/cli/chat-run.ts';
import { jsonLines } from '../../../src/cli/json-lines.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const PATH = {
  friend: 'bob',
  path: 'direct',
  kind: 'host',
  local: { host: '127.0.0.1', port: 1 },
  remote: { host: '127.0.0.1', port: 2 },
  sinceStartMs: 1,
  sinceMatchMs: 1,
  fingerprint: 'sha256-x',
  trust: 'known',
} as const;

/** A chat whose library, input and clock are the test's. */
class Harness {
  readonly clock = new VirtualClock();
  readonly chatty = new EventQueue<ChattyEvent>();
  readonly conversation = new EventQueue<ConversationEvent>();
  readonly input = new PassThrough();
  readonly abort = new AbortController();
  /** What the program asked of the library, in order. */
  readonly asked: string[] = [];
  /** Ids of messages the program has taken. */
  readonly accepted: number[] = [];
  /** `send` waits while this is set. */
  full: Promise<void> | undefined;
  readonly lines: Record<string, unknown>[] = [];
  readonly output: Writable;
  readonly ended: Promise<number | ChattyError>;
  #sent = 0;

  constructor(
    options: {
      timeoutMs?: number;
      typed?: boolean;
      output?: Writable;
      written?: Promise<void>;
    } = {},
  ) {
    this.output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        for (const line of chunk.toString().split('\n').filter(Boolean)) {
          this.lines.push(JSON.parse(line) as Record<string, unknown>);
        }
        if (options.written === undefined) done();
        else void options.written.then(() => done());
      },
    });
    const run = new ChatRun({
      chatty: { events: this.chatty },
      conversation: {
        friend: 'bob',
        events: this.conversation,
        send: async (text) => {
          await this.full;
          this.asked.push(`send ${text}`);
          return { id: ++this.#sent };
        },
        end: () => {
          this.asked.push('end');
          return Promise.resolve();
        },
        goodbye: (reason) => {
          this.asked.push(reason === undefined ? 'goodbye' : `goodbye ${reason}`);
          return Promise.resolve();
        },
      },
      screen: jsonLines,
      clock: this.clock,
      startedAt: this.clock.now(),
      timeoutMs: options.timeoutMs,
      input: this.input,
      typed: options.typed ?? false,
      output: this.output,
      signal: this.abort.signal,
    });
    this.ended = run.run().catch((error: unknown) => error as ChattyError);
  }

  /** Lets everything that is under way arrive. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn++) await setImmediate();
  }

  async say(...events: ConversationEvent[]): Promise<void> {
    for (const event of events) this.conversation.push(event);
    await this.settle();
  }

  async registered(): Promise<void> {
    this.chatty.push({ type: 'registered', server: '127.0.0.1:4433', observed: undefined });
    await this.settle();
  }

  async type(text: string | Uint8Array, end = false): Promise<void> {
    this.input.write(text);
    if (end) this.input.end();
    await this.settle();
  }

  pass(ms: number): void {
    this.clock.runUntil(this.clock.now() + ms);
  }

  message(id: number, text: string): ConversationEvent {
    const accept = (): void => void this.accepted.push(id);
    return { type: 'message', from: 'bob', id, session: '1-00', text, accept };
  }

  get events(): unknown[] {
    return this.lines.map(({ event }) => event);
  }
}

const error = (code: 'CHATTY_NO_SERVER' | 'CHATTY_UNTRUSTED' | 'CHATTY_REPLACED'): ChattyError =>
  new ChattyError(code, `it is ${code}`);

describe('a chat', () => {
  it('sends each line, says so, and leaves when both have ended', async () => {
    const chat = new Harness();
    await chat.registered();
    await chat.say({ type: 'waiting', friend: 'bob' }, { type: 'matched', friend: 'bob' });
    await chat.say({ type: 'connected', ...PATH });
    await chat.type('one\ntwo', true);
    await chat.say({ type: 'delivered', id: 1 }, { type: 'delivered', id: 2 });
    await chat.say(chat.message(1, 'hi'), { type: 'friend-ended' });
    expect(chat.asked).toEqual(['send one', 'send two', 'end']);
    await chat.say({ type: 'end-acknowledged' });
    expect(await chat.ended).toBe(0);
    expect(chat.asked.at(-1)).toBe('goodbye');
    expect(chat.events).toEqual([
      ...['registered', 'waiting', 'matched', 'connected', 'sent', 'sent'],
      ...['delivered', 'delivered', 'message'],
    ]);
    expect(chat.accepted).toEqual([1]);
  });

  it('takes a message only once it is written', async () => {
    let written!: () => void;
    const chat = new Harness({ written: new Promise((resolve) => (written = resolve)) });
    await chat.say({ type: 'connected', ...PATH }, chat.message(1, 'hi'), chat.message(2, 'ho'));
    expect(chat.accepted).toEqual([]);
    written();
    await chat.settle();
    expect(chat.accepted).toEqual([1, 2]);
    chat.abort.abort();
    expect(await chat.ended).toBe(130);
  });

  it('reads no further while there is no room, and loses nothing then', async () => {
    let room!: () => void;
    const chat = new Harness();
    chat.full = new Promise((resolve) => (room = resolve));
    await chat.type('one\ntwo\n', true);
    await chat.say({ type: 'connected', ...PATH });
    expect(chat.asked).toEqual([]);
    room();
    await chat.settle();
    expect(chat.asked).toEqual(['send one', 'send two', 'end']);
    chat.abort.abort();
    expect(await chat.ended).toBe(130);
  });

  it('reports a line that cannot be sent, and goes on', async () => {
    const chat = new Harness();
    await chat.type(Uint8Array.of(0xff, 0x0a));
    await chat.type(`${'x'.repeat(70_000)}\nthree\n`);
    expect(chat.lines).toMatchObject([
      {
        event: 'error',
        code: 'CHATTY_NOT_UTF8',
        message: expect.stringContaining('line 1') as string,
      },
      {
        event: 'error',
        code: 'CHATTY_MESSAGE_TOO_LONG',
        message: expect.stringContaining('line 2') as string,
      },
      { event: 'sent', id: 1, text: 'three' },
    ]);
    chat.abort.abort();
    expect(await chat.ended).toBe(130);
  });

  it('sends empty lines of a file, not those of a person', async () => {
    for (const [typed, asked] of [
      [false, ['send ', 'send x']],
      [true, ['send x']],
    ] as const) {
      const chat = new Harness({ typed });
      await chat.type('\nx\n');
      expect(chat.asked).toEqual(asked);
      chat.abort.abort();
      await chat.ended;
    }
  });

  it('prints `disconnected` for a goodbye while its input is open, and goes on with the next session', async () => {
    const chat = new Harness();
    await chat.say({ type: 'connected', ...PATH }, { type: 'left', reason: 'done' });
    await chat.say({ type: 'waiting', friend: 'bob' }, { type: 'connected', ...PATH });
    expect(chat.lines).toMatchObject([
      { event: 'connected' },
      { event: 'disconnected', reason: 'done' },
      { event: 'waiting' },
      { event: 'connected' },
    ]);
    await chat.type('', true);
    await chat.say({ type: 'left', reason: 'done' });
    expect(await chat.ended).toBe(0);
    expect(chat.events.at(-1)).toBe('connected');
  });

  it('exits 0 after 5 s when its input has ended and the friend vanishes, unless it comes back', async () => {
    const chat = new Harness();
    await chat.type('', true);
    await chat.say({ type: 'connected', ...PATH }, { type: 'reconnecting' });
    chat.pass(4_999);
    await chat.say({ type: 'path', ...PATH });
    chat.pass(60_000);
    await chat.say({ type: 'reconnecting' });
    chat.pass(5_000);
    expect(await chat.ended).toBe(0);
    expect(chat.events).toEqual(['connected', 'reconnecting', 'path', 'reconnecting']);
  });

  it('says goodbye and exits 130 when interrupted', async () => {
    const chat = new Harness();
    await chat.say({ type: 'connected', ...PATH });
    chat.abort.abort();
    expect(await chat.ended).toBe(130);
    expect(chat.asked).toEqual(['goodbye interrupted']);
  });
});

describe('a chat fails', () => {
  it('with 69 when no server has answered after 15 s, saying why', async () => {
    const chat = new Harness();
    chat.chatty.push({ type: 'no-server', error: error('CHATTY_NO_SERVER') });
    chat.chatty.push({ type: 'no-server', error: error('CHATTY_NO_SERVER') });
    await chat.settle();
    chat.pass(14_999);
    await chat.settle();
    // Once, however often it is tried.
    expect(chat.events).toEqual(['error']);
    chat.pass(1);
    expect(await chat.ended).toMatchObject({ exitCode: 69, message: 'it is CHATTY_NO_SERVER' });
  });

  it('with 69 when no server has answered by --timeout', async () => {
    const chat = new Harness({ timeoutMs: 2_000 });
    chat.pass(2_000);
    expect(await chat.ended).toMatchObject({ exitCode: 69 });
  });

  it('with 75 when a server answered, but no friend came by --timeout', async () => {
    const chat = new Harness({ timeoutMs: 20_000 });
    await chat.registered();
    chat.pass(19_999);
    await chat.settle();
    chat.chatty.push({ type: 'no-server', error: error('CHATTY_NO_SERVER') });
    await chat.settle();
    chat.pass(1);
    expect(await chat.ended).toMatchObject({ exitCode: 75, message: 'bob did not come in time' });
  });

  it('with 75 when the friend came, but no path was found by --timeout', async () => {
    const chat = new Harness({ timeoutMs: 2_000 });
    await chat.registered();
    await chat.say({ type: 'matched', friend: 'bob' });
    chat.pass(2_000);
    expect(await chat.ended).toMatchObject({
      exitCode: 75,
      message: 'bob is there, but no path to them was found',
    });
  });

  it('not because every server is lost later', async () => {
    const chat = new Harness();
    await chat.registered();
    chat.chatty.push({ type: 'no-server', error: error('CHATTY_NO_SERVER') });
    await chat.settle();
    chat.pass(3_600_000);
    await chat.settle();
    chat.abort.abort();
    expect(await chat.ended).toBe(130);
  });

  it('with 77 at once when no balancer is trusted, or a newer process took over', async () => {
    const untrusted = new Harness();
    untrusted.chatty.push({ type: 'no-server', error: error('CHATTY_UNTRUSTED') });
    expect(await untrusted.ended).toMatchObject({ exitCode: 77 });

    const replaced = new Harness();
    await replaced.registered();
    replaced.chatty.push({ type: 'error', error: error('CHATTY_REPLACED'), fatal: true });
    expect(await replaced.ended).toMatchObject({ exitCode: 77, code: 'CHATTY_REPLACED' });
  });
});
