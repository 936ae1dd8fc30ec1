import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import {
  Admission,
  type AdmissionLimits,
  type NotAdmitted,
} from '../../../src/rendezvous/admission.ts';

const LIMITS: AdmissionLimits = { maxPeers: 5, peersPerSource: 2, registrationsPerMinute: 6 };
const here = (host: string, port = 4000): Address => ({ host, port });
const SOURCE = here('203.0.113.1');

/** Admits, or fails the test. */
function admit(admission: Admission, source: Address | undefined, now = 0): () => void {
  const release = admission.admit(source, now);
  if (typeof release === 'string') throw new Error(`not admitted: ${release}`);
  return release;
}

describe('admission', () => {
  it('ends at so many peers, wherever they are from, until one leaves', () => {
    const admission = new Admission(LIMITS);
    const sources = ['203.0.113.1', '203.0.113.2', '203.0.113.3', '127.0.0.1'].map((host) =>
      here(host),
    );
    const [release] = [...sources, undefined].map((source) => admit(admission, source));
    expect(admission.admit(here('203.0.113.4'), 0)).toBe('full');
    release?.();
    admit(admission, here('203.0.113.4'));
  });

  it.each<[string, string, string, NotAdmitted | 'admitted']>([
    ['one IPv4 address', '203.0.113.1', '203.0.113.1', 'source-full'],
    ['two IPv4 addresses', '203.0.113.1', '203.0.113.2', 'admitted'],
    ['one /64: whoever has one address of it has all', '2001:db8::1', '2001:db8::2', 'source-full'],
    ['two /64', '2001:db8:0:1::1', '2001:db8:0:2::1', 'admitted'],
    ['loopback: tunnels end there', '127.0.0.1', '127.0.0.1', 'admitted'],
  ])('counts peers by source: %s', (_why, first, second, outcome) => {
    const admission = new Admission(LIMITS);
    admit(admission, here(first, 1));
    admit(admission, here(first, 2));
    const third = admission.admit(here(second, 3), 0);
    expect(typeof third === 'string' ? third : 'admitted').toBe(outcome);
  });

  it('limits how often one source registers, and lets it again in proportion to time', () => {
    const admission = new Admission(LIMITS);
    for (let count = 0; count < 6; count++) admit(admission, SOURCE)();
    expect(admission.admit(SOURCE, 0)).toBe('too-often');
    expect(admission.admit(SOURCE, 9_999)).toBe('too-often');
    admit(admission, SOURCE, 10_000)();
    expect(admission.admit(SOURCE, 10_001)).toBe('too-often');
    admit(admission, here('203.0.113.2'), 10_001);
  });

  it('saves up a minute at most', () => {
    const admission = new Admission(LIMITS);
    admit(admission, SOURCE)();
    for (let count = 0; count < 6; count++) admit(admission, SOURCE, 3_600_000)();
    expect(admission.admit(SOURCE, 3_600_000)).toBe('too-often');
  });

  it('remembers nobody who is gone for a minute, and everybody who is not', () => {
    const admission = new Admission({ ...LIMITS, maxPeers: 10_000 });
    const stays = admit(admission, SOURCE);
    for (let index = 0; index < 1_000; index++) {
      admit(admission, here(`198.51.${index >> 8}.${index & 255}`))();
    }
    expect(admission.sources).toBe(1_001);
    admit(admission, here('192.0.2.1'), 60_000);
    expect(admission.sources).toBe(2);
    admit(admission, SOURCE, 60_001);
    expect(admission.admit(SOURCE, 60_002)).toBe('source-full');
    stays();
    admit(admission, SOURCE, 60_003);
  });
});
