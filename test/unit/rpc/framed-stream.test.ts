import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { FramedStream } from '../../../src/rpc/framed-stream.ts';

/** A stream of which the test plays the far end. */
class FarEnd extends Duplex {
  readonly written: Buffer[] = [];
  reads = true;

  override _read(): void {
    // What arrives is pushed by the test.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(chunk);
    if (this.reads) done();
  }
}

const text = {
  encode: (message: string) => ({ finish: () => Buffer.from(message) }),
  decode: (bytes: Uint8Array) => {
    const message = Buffer.from(bytes).toString();
    if (message === 'bad') throw new Error('no such message');
    return message;
  },
};

function open(): {
  far: FarEnd;
  framed: FramedStream<string, string>;
  messages: string[];
  ends: string[];
} {
  const far = new FarEnd();
  const messages: string[] = [];
  const ends: string[] = [];
  const framed = new FramedStream<string, string>({
    stream: far,
    incoming: text,
    outgoing: text,
    maxFrameBytes: 100,
    maxQueuedBytes: 1_000,
    onMessage: (message) => messages.push(message),
    onEnd: (reason) => ends.push(reason),
  });
  return { far, framed, messages, ends };
}

const frame = (message: string): Buffer =>
  Buffer.concat([Buffer.from([0, 0, 0, message.length]), Buffer.from(message)]);

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('FramedStream', () => {
  it('sends each message as a frame and hands over each frame as a message', async () => {
    const { far, framed, messages } = open();
    framed.send('hi');
    far.push(Buffer.concat([frame('one'), frame('two')]));
    await settle();
    expect(Buffer.concat(far.written)).toEqual(frame('hi'));
    expect(messages).toEqual(['one', 'two']);
  });

  it.each([
    ['what is no message', frame('bad')],
    ['a frame over the limit', Buffer.from([0, 0, 0, 101])],
  ])('ends once, with the reason, at %s', async (_what, bytes) => {
    const { far, messages, ends } = open();
    far.push(Buffer.concat([bytes, frame('later')]));
    await settle();
    expect(messages).toEqual([]);
    expect(ends).toHaveLength(1);
    expect(far.destroyed).toBe(true);
  });

  it('gives up a far end that reads nothing, before memory grows', async () => {
    const { far, framed, ends } = open();
    far.reads = false;
    for (let sent = 0; sent < 1_000; sent++) framed.send('x'.repeat(96));
    await settle();
    expect(ends).toEqual([expect.stringContaining('reads nothing')]);
    expect(far.destroyed).toBe(true);
  });

  it('ends when the stream does', async () => {
    const { far, ends } = open();
    far.push(null);
    await settle();
    expect(ends).toEqual(['the stream was ended']);
  });
});
