import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { encodeFrame, FrameDecoder } from '../../../src/rpc/frames.ts';

describe('frames', () => {
  it('puts the length before the message as 4 bytes, big endian', () => {
    expect([...encodeFrame(Uint8Array.of(7, 8))]).toEqual([0, 0, 0, 2, 7, 8]);
  });

  it('cuts any split of the stream into the frames that were sent', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        (messages, cuts) => {
          const stream = Buffer.concat(messages.map(encodeFrame));
          const decoder = new FrameDecoder(64);
          const received: number[][] = [];
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const size = cuts[turn % cuts.length] ?? 1;
            const frames = decoder.push(stream.subarray(at, at + size));
            received.push(...frames.map((frame) => [...frame]));
            at += size;
          }
          expect(received).toEqual(messages.map((message) => [...message]));
        },
      ),
    );
  });

  it('refuses a frame over the limit as soon as its length is known', () => {
    const decoder = new FrameDecoder(10);
    expect(() => decoder.push(Uint8Array.of(0, 0, 0, 11))).toThrow(/11 bytes is over the limit/);
  });

  it('holds few buffers for a frame that comes byte by byte', () => {
    const decoder = new FrameDecoder(10_000);
    const concat = vi.spyOn(Buffer, 'concat');
    const message = new Uint8Array(10_000).fill(7);
    const frames: Uint8Array[] = [];
    for (const byte of encodeFrame(message)) frames.push(...decoder.push(Uint8Array.of(byte)));
    const most = Math.max(...concat.mock.calls.map(([pieces]) => pieces.length));
    concat.mockRestore();
    expect(most).toBeLessThan(100);
    expect(frames.map((frame) => Buffer.compare(frame, message))).toEqual([0]);
  });
});
