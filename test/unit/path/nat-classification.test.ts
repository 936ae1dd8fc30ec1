import { describe, expect, it } from 'vitest';
import { type Address, parseAddress } from '../../../src/base/address.ts';
import { classifyNat, type Observation } from '../../../src/path/nat-classification.ts';

const OWN = [address('192.168.1.5:5000'), address('127.0.0.1:5000')];

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

/** `S1:4433 sees 203.0.113.7:6000`, one after the other, a millisecond apart or `@` a time. */
function seen(...lines: readonly string[]): Observation[] {
  return lines.map((line, index) => {
    const [, server = '', mapped = '', at] = /^(\S+) sees (\S+?)(?: @(\d+))?$/.exec(line) ?? [];
    const where = address(server.replace(/^S(\d)/, '198.51.100.$1'));
    return { server: where, mapped: address(mapped), at: at === undefined ? index : Number(at) };
  });
}

const X = '203.0.113.7';

describe('the classification of a NAT', () => {
  it.each([
    [
      'the same port towards three servers',
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6000`, `S3:4433 sees ${X}:6000`],
    ],
    ['one answer lost', [`S1:4433 sees ${X}:6000`, `S3:4433 sees ${X}:6000`]],
    [
      'a public address for each server, and one port',
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees 203.0.113.8:6000`],
    ],
    [
      'a mapping renewed in between',
      [
        `S1:4433 sees ${X}:6000`,
        `S2:4433 sees ${X}:6000`,
        `S3:4433 sees ${X}:9000`,
        `S4:4433 sees ${X}:9000`,
      ],
    ],
    [
      'a new public address in between',
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6000`, `S3:4433 sees 203.0.113.99:6000`],
    ],
    [
      'another word of the same servers long ago',
      [
        `S1:4433 sees ${X}:6000 @0`,
        `S2:4433 sees ${X}:9000 @0`,
        `S1:4433 sees ${X}:7000 @60000`,
        `S2:4433 sees ${X}:7000 @60001`,
      ],
    ],
  ])('is endpoint-independent: %s', (_why, lines) => {
    expect(classifyNat(seen(...lines), OWN)).toMatchObject({
      mapping: 'endpoint-independent',
      dependence: 'endpoint-independent',
      step: 0,
      isOwnAddress: false,
    });
  });

  it('is called endpoint-independent, but not known to be, where only one computer was asked', () => {
    const nat = classifyNat(seen(`S1:4433 sees ${X}:6000`, `S1:443 sees ${X}:6000`), OWN);
    expect(nat).toMatchObject({ mapping: 'endpoint-independent', dependence: undefined });
    expect(nat?.observers).toEqual({ addresses: 2, hosts: 1 });
  });

  it.each<[why: string, step: number, lines: string[]]>([
    [
      'one apart',
      1,
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6001`, `S3:4433 sees ${X}:6002`],
    ],
    [
      'two apart',
      2,
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6002`, `S3:4433 sees ${X}:6004`],
    ],
    [
      'one apart, one answer lost',
      1,
      [`S1:4433 sees ${X}:6000`, `S3:4433 sees ${X}:6002`, `S4:4433 sees ${X}:6003`],
    ],
    [
      'downwards',
      -1,
      [`S1:4433 sees ${X}:6002`, `S2:4433 sees ${X}:6001`, `S3:4433 sees ${X}:6000`],
    ],
    [
      'one apart, answers overtaking each other',
      1,
      [
        `S2:4433 sees ${X}:6001`,
        `S1:4433 sees ${X}:6000`,
        `S3:4433 sees ${X}:6002`,
        `S4:4433 sees ${X}:6003`,
      ],
    ],
    [
      'two apart, others opening mappings meanwhile',
      2,
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6008`, `S3:4433 sees ${X}:6010`],
    ],
    ['one apart, of two servers only', 1, [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6001`]],
    [
      'one apart, of two addresses of one server',
      1,
      [`S1:4433 sees ${X}:6000`, `S1:443 sees ${X}:6001`],
    ],
    [
      'two public addresses, each counting alone',
      1,
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees 203.0.113.8:9000`, `S3:4433 sees ${X}:6001`],
    ],
  ])('is sequential: ports %s', (_why, step, lines) => {
    expect(classifyNat(seen(...lines), OWN)).toMatchObject({ mapping: 'sequential', step });
  });

  it.each([
    [
      'ports far apart',
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:31000`, `S3:4433 sees ${X}:12000`],
    ],
    [
      'two close together by chance',
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees ${X}:6003`, `S3:4433 sees ${X}:12000`],
    ],
    [
      'another public address and port each',
      [`S1:4433 sees ${X}:6000`, `S2:4433 sees 203.0.113.8:6001`],
    ],
  ])('is random: %s', (_why, lines) => {
    expect(classifyNat(seen(...lines), OWN)).toMatchObject({ mapping: 'random', step: 0 });
  });

  it('depends on the address alone where one computer sees one port at both of its ports', () => {
    const lines = [`S1:4433 sees ${X}:6000`, `S1:443 sees ${X}:6000`, `S2:4433 sees ${X}:6001`];
    const nat = classifyNat(seen(...lines), OWN);
    expect(nat).toMatchObject({ mapping: 'sequential', dependence: 'address-dependent' });
  });

  it('depends on address and port where one computer sees two ports', () => {
    const lines = [`S1:4433 sees ${X}:6000`, `S1:443 sees ${X}:7000`, `S2:4433 sees ${X}:9000`];
    expect(classifyNat(seen(...lines), OWN)?.dependence).toBe('address-and-port-dependent');
  });

  it('guesses from the newest observation', () => {
    const lines = [
      `S1:4433 sees ${X}:6000 @5`,
      `S2:4433 sees ${X}:6002 @7`,
      `S3:4433 sees ${X}:6001 @6`,
    ];
    expect(classifyNat(seen(...lines), OWN)?.lastObserved).toEqual(address(`${X}:6002`));
  });

  it('knows an address of our own at a single word, and a kept port', () => {
    const own = classifyNat(seen('S1:4433 sees 192.168.1.5:5000'), OWN);
    expect(own).toMatchObject({ mapping: 'endpoint-independent', isOwnAddress: true });
    const kept = classifyNat(seen(`S1:4433 sees ${X}:5000`, `S2:4433 sees ${X}:5000`), OWN);
    expect(kept).toMatchObject({ isOwnAddress: false, portPreserving: true });
  });

  it('is not turned by one word that differs from two, whatever it says', () => {
    const honest = [`S1:4433 sees ${X}:6000 @1`, `S2:4433 sees ${X}:6000 @2`];
    for (const lie of ['192.168.1.5:5000', '192.0.2.66:9999', `${X}:6001`]) {
      expect(classifyNat(seen(...honest, `S3:4433 sees ${lie} @3`), OWN), lie).toMatchObject({
        mapping: 'endpoint-independent',
        isOwnAddress: false,
        lastObserved: address(`${X}:6000`),
      });
    }
  });

  it.each([
    ['nothing was observed', []],
    ['one server answered', [`S1:4433 sees ${X}:6000`]],
    ['one server answered twice', [`S1:4433 sees ${X}:6000`, `S1:4433 sees ${X}:6001`]],
    [
      'all but one are of another time',
      [`S1:4433 sees ${X}:6000 @0`, `S2:4433 sees ${X}:6000 @9000`],
    ],
  ])('says nothing where %s', (_why, lines) => {
    expect(classifyNat(seen(...lines), OWN)).toBeUndefined();
  });
});
