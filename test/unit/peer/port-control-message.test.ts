import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type MappedPort,
  natPmpAddressRequest,
  natPmpMapRequest,
  pcpMapRequest,
  readPortControlAnswer,
} from '../../../src/peer/port-control-message.ts';

const ASKED: MappedPort = {
  own: '192.168.1.10',
  port: 0x1234,
  nonce: Uint8Array.from({ length: 12 }, (_, index) => 0xa0 + index),
};
const NONCE = 'a0a1a2a3a4a5a6a7a8a9aaab';
const OWN = '00000000000000000000ffffc0a8010a';
const EXTERNAL = '00000000000000000000ffffcb007107';
/** Success, an hour, and the port 0x5678 of 203.0.113.7. */
const PCP_MAPPED = `0281000000000e10${'00'.repeat(16)}${NONCE}1100000012345678${EXTERNAL}`;

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function read(text: string): ReturnType<typeof readPortControlAnswer> {
  return readPortControlAnswer(Buffer.from(text, 'hex'), ASKED);
}

describe('messages of PCP and NAT-PMP', () => {
  it('asks by PCP for a mapping', () => {
    const request = pcpMapRequest(ASKED, { host: '203.0.113.7', port: 0x5678 }, 3_600_000);
    expect(hex(request)).toBe(`0201000000000e10${OWN}${NONCE}1100000012345678${EXTERNAL}`);
  });

  it('asks by NAT-PMP for the address, and for a mapping', () => {
    expect(hex(natPmpAddressRequest())).toBe('0000');
    expect(hex(natPmpMapRequest(0x1234, 0x5678, 3_600_000))).toBe('000100001234567800000e10');
  });

  it.each([
    [
      'PCP: mapped',
      PCP_MAPPED,
      {
        kind: 'pcp-mapped',
        external: { host: '203.0.113.7', port: 0x5678 },
        lifetimeMs: 3_600_000,
      },
    ],
    ['PCP: refused', PCP_MAPPED.replace('02810000', '02810002'), { kind: 'pcp-refused' }],
    ['PCP: port 0', PCP_MAPPED.replace('12345678', '12340000'), { kind: 'pcp-refused' }],
    ['PCP: for no time', PCP_MAPPED.replace('00000e10', '00000000'), { kind: 'pcp-refused' }],
    [
      'NAT-PMP: the address',
      '0080000000000000cb007107',
      { kind: 'nat-pmp-address', host: '203.0.113.7' },
    ],
    [
      'NAT-PMP: mapped',
      '00810000000000001234567800000e10',
      { kind: 'nat-pmp-mapped', port: 0x5678, lifetimeMs: 3_600_000 },
    ],
    ['NAT-PMP: out of ports', '00810004000000001234000000000000', { kind: 'nat-pmp-refused' }],
    ['NAT-PMP only, asked by PCP', '0081000100000000', { kind: 'pcp-refused' }],
    ['PCP only, asked by NAT-PMP', `02810001${'00'.repeat(20)}`, { kind: 'nat-pmp-refused' }],
  ] as const)('reads %s', (_name, text, answer) => {
    expect(read(text)).toEqual(answer);
  });

  it.each([
    ['another nonce', PCP_MAPPED.replace(NONCE, NONCE.replace('a0', 'ff'))],
    ['another port of ours', PCP_MAPPED.replace('12345678', '99995678')],
    ['TCP', PCP_MAPPED.replace('1100000012', '0600000012')],
    ['our own question', hex(pcpMapRequest(ASKED, { host: '0.0.0.0', port: 1 }, 1000))],
    ['NAT-PMP for another port of ours', '00810000000000009999567800000e10'],
    ['NAT-PMP, without the address', '0080000000000000cb0071'],
    ['version 1', PCP_MAPPED.replace('0281', '0181')],
  ])('takes no notice of %s', (_name, text) => {
    expect(read(text)).toBeUndefined();
  });

  it('takes no notice of what is cut short', () => {
    const whole = Buffer.from(PCP_MAPPED, 'hex');
    for (let length = 0; length < whole.length; length++) {
      expect(readPortControlAnswer(whole.subarray(0, length), ASKED)).toBeUndefined();
    }
  });

  it('throws at nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0, 2), (bytes, version) => {
        if (bytes.length > 0) bytes[0] = version;
        readPortControlAnswer(bytes, ASKED);
      }),
    );
  });
});
