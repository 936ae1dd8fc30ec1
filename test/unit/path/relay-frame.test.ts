import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeRelayFrame,
  MAX_RELAYED_BYTES,
  readRelayFrame,
  RELAY_HEADER_BYTES,
  relayProof,
  type RelayFrame,
  setRelayChannel,
} from '../../../src/path/relay-frame.ts';

const CHANNEL = '0123456789abcdef';
const PROOF = Buffer.alloc(16, 0xaa);

function hexOf(frame: RelayFrame): string {
  return encodeRelayFrame(frame).toString('hex');
}

describe('a relay frame', () => {
  it.each<[RelayFrame, string]>([
    [{ type: 'data', channel: CHANNEL, payload: Buffer.from('40ff', 'hex') }, `0c00${CHANNEL}40ff`],
    [
      { type: 'bind', channel: CHANNEL, proof: PROOF, cookie: undefined },
      `0c01${CHANNEL}${'aa'.repeat(16)}${'00'.repeat(70)}`,
    ],
    [
      { type: 'bind', channel: CHANNEL, proof: PROOF, cookie: Buffer.from('0102', 'hex') },
      `0c01${CHANNEL}${'aa'.repeat(16)}020102${'00'.repeat(67)}`,
    ],
    [{ type: 'bound', channel: CHANNEL, friendBound: false }, `0c02${CHANNEL}00`],
    [{ type: 'bound', channel: CHANNEL, friendBound: true }, `0c02${CHANNEL}01`],
    [
      { type: 'challenge', channel: CHANNEL, cookie: Buffer.from('0102', 'hex') },
      `0c03${CHANNEL}020102`,
    ],
    [{ type: 'limited', channel: CHANNEL, limit: 'rate' }, `0c04${CHANNEL}01`],
    [{ type: 'limited', channel: CHANNEL, limit: 'server' }, `0c04${CHANNEL}04`],
  ])('has pinned bytes and is read as it was written: %j', (frame, hex) => {
    expect(hexOf(frame)).toBe(hex);
    expect(readRelayFrame(Buffer.from(hex, 'hex'))).toEqual(frame);
  });

  it('that binds is longer than any answer to it', () => {
    const bind = hexOf({ type: 'bind', channel: CHANNEL, proof: PROOF, cookie: undefined });
    const answer = hexOf({ type: 'challenge', channel: CHANNEL, cookie: Buffer.alloc(40) });
    expect(answer.length).toBeLessThan(bind.length);
  });

  it('proves its side anew for every cookie', () => {
    const key = Buffer.alloc(16, 1);
    const proofs = [
      relayProof(key, CHANNEL, undefined),
      relayProof(key, CHANNEL, Buffer.from([1])),
      relayProof(key, 'fedcba9876543210', undefined),
      relayProof(Buffer.alloc(16, 2), CHANNEL, undefined),
    ].map((proof) => Buffer.from(proof).toString('hex'));
    expect(proofs[0]).toBe('25abdc447776dee58f15b598dfcc29c8');
    expect(new Set(proofs).size).toBe(proofs.length);
  });

  it('is given another channel in place', () => {
    const payload = Buffer.from([0x40, 1, 2]);
    const datagram = encodeRelayFrame({ type: 'data', channel: CHANNEL, payload });
    setRelayChannel(datagram, 'fedcba9876543210');
    expect(readRelayFrame(datagram)).toEqual({
      type: 'data',
      channel: 'fedcba9876543210',
      payload,
    });
  });

  it.each([
    ['is cut before its body', `0c00${CHANNEL}`],
    ['is no relay frame', `0d00${CHANNEL}40`],
    ['is of an unknown type', `0c05${CHANNEL}40`],
    ['carries a relay frame', `0c00${CHANNEL}0c00`],
    ['carries what is neither STUN nor QUIC', `0c00${CHANNEL}3f`],
    [
      'is over the longest payload',
      `0c00${CHANNEL}${'40'.repeat(MAX_RELAYED_BYTES + RELAY_HEADER_BYTES)}`,
    ],
    ['binds in fewer bytes than an answer may take', `0c01${CHANNEL}${'00'.repeat(85)}`],
    [
      'binds with a cookie that is too long',
      `0c01${CHANNEL}${'aa'.repeat(16)}29${'00'.repeat(90)}`,
    ],
    ['challenges without a cookie', `0c03${CHANNEL}00`],
    ['challenges with a cookie cut short', `0c03${CHANNEL}0201`],
    ['names no limit', `0c04${CHANNEL}00`],
    ['names an unknown limit', `0c04${CHANNEL}05`],
  ])('is not read where it %s', (_reason, hex) => {
    expect(readRelayFrame(Buffer.from(hex, 'hex'))).toBeUndefined();
  });

  it('never throws, whatever comes', () => {
    const bytes = fc
      .tuple(fc.nat(6), fc.uint8Array({ maxLength: 1400 }))
      .map(([type, rest]) => Uint8Array.of(0x0c, type, ...rest));
    fc.assert(
      fc.property(fc.oneof(bytes, fc.uint8Array({ maxLength: 200 })), (datagram) => {
        const frame = readRelayFrame(datagram);
        if (frame?.type === 'data') expect(frame.payload.length).toBe(datagram.length - 10);
      }),
    );
  });
});
