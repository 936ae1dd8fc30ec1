import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../src/base/address.ts';
import {
  type Candidate,
  type CandidateKind,
  checkOrderOf,
  gatherHostCandidates,
  pathClassOf,
} from '../../../src/path/candidate.ts';
import {
  admitFromPeer,
  admitFromServer,
  discloseCandidates,
  isOnLoopback,
} from '../../../src/path/candidate-rules.ts';

function address(text: string): Candidate['address'] {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

/** `host 10.0.0.1:5000` as a candidate. */
function candidate(text: string): Candidate {
  const [kind = '', where = ''] = text.split(' ');
  return { kind: kind as CandidateKind, address: address(where) };
}

const texts = (candidates: readonly Candidate[]): string[] =>
  candidates.map(({ kind, address: where }) => `${kind} ${formatAddress(where)}`);

function interfaceOf(ip: string): NetworkInterfaceInfo {
  const base = { address: ip, netmask: '', mac: '', internal: false, cidr: null };
  return ip.includes(':') ? { ...base, family: 'IPv6', scopeid: 0 } : { ...base, family: 'IPv4' };
}

describe('gathering host candidates', () => {
  const interfaces = {
    lo: [interfaceOf('127.0.0.1'), interfaceOf('::1')],
    eth0: [interfaceOf('192.168.1.5'), interfaceOf('fe80::1'), interfaceOf('2001:DB8::5')],
    wlan0: [interfaceOf('169.254.7.7')],
    gone: undefined,
  };

  it('takes every address of every interface, loopback last, without IPv6 link-local ones', () => {
    expect(texts(gatherHostCandidates(interfaces, { 4: 4000, 6: 6000 }))).toEqual([
      'host 192.168.1.5:4000',
      'host [2001:db8::5]:6000',
      'host 169.254.7.7:4000',
      'host 127.0.0.1:4000',
      'host [::1]:6000',
    ]);
  });

  it('has none of a family without a socket', () => {
    expect(texts(gatherHostCandidates(interfaces, { 6: 6000 }))).toEqual([
      'host [2001:db8::5]:6000',
      'host [::1]:6000',
    ]);
  });

  it('keeps loopback when there are more interfaces than candidates', () => {
    const many = Array.from({ length: 40 }, (_, index) => interfaceOf(`10.0.0.${index + 1}`));
    const found = texts(gatherHostCandidates({ ...interfaces, many }, { 4: 4000, 6: 6000 }));
    expect(found).toHaveLength(12);
    expect(found).toContain('host 127.0.0.1:4000');
  });
});

describe('what a server keeps of a peer’s candidates', () => {
  const observed = [address('203.0.113.7:50000')];

  it.each([
    ['a private address', 'host 192.168.1.5:4000'],
    ['a unique local address', 'host [fd00::5]:4000'],
    ['an address of a carrier-grade NAT', 'host 100.64.0.1:4000'],
    ['an IPv4 link-local address', 'host 169.254.1.1:4000'],
    ['an interface with the observed IP address', 'host 203.0.113.7:4000'],
    ['port 443', 'host 192.168.1.5:443'],
    ['a port mapping on the observed IP address', 'mapped 203.0.113.7:6000'],
  ])('keeps %s', (_why, text) => {
    expect(texts(admitFromPeer([candidate(text)], observed)).sort()).toEqual(
      [text, 'srflx 203.0.113.7:50000'].sort(),
    );
  });

  it.each([
    ['a public address nobody observed', 'host 198.51.100.1:4000'],
    ['a server-reflexive one that only the peer claims', 'srflx 198.51.100.1:4000'],
    ['… even in a private range', 'srflx 10.0.0.1:4000'],
    ['… even on the observed IP address', 'srflx 203.0.113.7:4001'],
    ['a port mapping on another IP address', 'mapped 203.0.113.8:6000'],
    ['a port mapping in a private range', 'mapped 10.0.0.1:6000'],
    ['a peer-reflexive one, which only a check can find', 'prflx 10.0.0.1:4000'],
    ['loopback, of a peer seen elsewhere', 'host 127.0.0.1:4000'],
    ['port 0', 'host 192.168.1.5:0'],
    ['a well-known port', 'host 192.168.1.5:53'],
    ['multicast', 'host 224.0.0.1:4000'],
    ['IPv6 multicast', 'host [ff02::1]:4000'],
    ['broadcast', 'host 255.255.255.255:4000'],
    ['the unspecified address', 'host 0.0.0.0:4000'],
    ['an IPv6 link-local address, which needs a zone', 'host [fe80::1]:4000'],
  ])('drops %s', (_why, text) => {
    expect(texts(admitFromPeer([candidate(text)], observed))).toEqual(['srflx 203.0.113.7:50000']);
  });

  it.each(['::ffff:10.0.0.1', '::FFFF:a00:1', '010.0.0.1', 'FD00::1', 'example.org', ''])(
    'drops the host %s, which is no IP address in its one spelling',
    (host) => {
      const told: Candidate[] = [{ kind: 'host', address: { host, port: 4000 } }];
      expect(admitFromPeer(told, [])).toEqual([]);
    },
  );

  it('counts an observed address as public whatever its range', () => {
    expect(texts(admitFromPeer([], [address('10.9.9.9:50000')]))).toEqual(['srflx 10.9.9.9:50000']);
  });

  it('calls an observed address that an interface has a host candidate', () => {
    const told = ['host 10.0.0.1:4000', 'host 203.0.113.7:50000'].map(candidate);
    expect(texts(admitFromPeer(told, observed))).toEqual([
      'host 203.0.113.7:50000',
      'host 10.0.0.1:4000',
    ]);
  });

  it('keeps at most 16, the observed among them', () => {
    const told = Array.from({ length: 300 }, (_, index) =>
      candidate(`host 10.0.0.1:${2000 + index}`),
    );
    const kept = texts(admitFromPeer(told, observed));
    expect(kept).toHaveLength(16);
    expect(kept).toContain('srflx 203.0.113.7:50000');
  });

  it('keeps loopback of a peer seen there, and tells it only to a friend who is there too', () => {
    const told = ['host 127.0.0.1:4000', 'host 192.168.1.5:4000'].map(candidate);
    const kept = admitFromPeer(told, [address('127.0.0.1:4000')]);
    expect(isOnLoopback(kept)).toBe(true);
    expect(texts(discloseCandidates(kept, true))).toEqual([
      'host 127.0.0.1:4000',
      'host 192.168.1.5:4000',
    ]);
    expect(texts(discloseCandidates(kept, false))).toEqual(['host 192.168.1.5:4000']);
  });
});

describe('what a peer checks of a friend’s candidates', () => {
  const own = { families: new Set<4 | 6>([4, 6]), onLoopback: false };

  it('takes a server’s word for public addresses, and only for that', () => {
    const told = [
      'srflx 203.0.113.7:50000',
      'mapped 203.0.113.7:6000',
      'host 192.168.1.5:4000',
      'host 192.168.1.5:4000',
      'host 127.0.0.1:4000',
      'host 192.168.1.5:80',
      'srflx 255.255.255.255:4000',
      'prflx 10.0.0.1:4000',
    ].map(candidate);
    expect(texts(admitFromServer(told, own))).toEqual([
      'srflx 203.0.113.7:50000',
      'mapped 203.0.113.7:6000',
      'host 192.168.1.5:4000',
    ]);
  });

  it('checks no family without a socket, loopback only on loopback, and at most 16', () => {
    const told = ['host [fd00::1]:4000', 'host 127.0.0.1:4000'].map(candidate);
    expect(texts(admitFromServer(told, { families: new Set<4>([4]), onLoopback: true }))).toEqual([
      'host 127.0.0.1:4000',
    ]);
    const many = Array.from({ length: 300 }, (_, index) =>
      candidate(`srflx 10.0.0.1:${2000 + index}`),
    );
    expect(admitFromServer(many, own)).toHaveLength(16);
  });
});

describe('a candidate', () => {
  it.each([
    ['host 192.168.1.5:4000', 'lan'],
    ['prflx 192.168.1.5:4000', 'lan'],
    ['host 127.0.0.1:4000', 'lan'],
    ['host 203.0.113.7:4000', 'public'],
    ['srflx 10.0.0.1:4000', 'public'],
    ['mapped 10.0.0.1:4000', 'public'],
    ['prflx 203.0.113.7:4000', 'public'],
  ])('%s is reached over a %s path', (text, pathClass) => {
    expect(pathClassOf(candidate(text))).toBe(pathClass);
  });

  it('is tried after those that a server saw, unless it is loopback', () => {
    const order = [
      'host 127.0.0.1:4000',
      'srflx [2001:db8::1]:4000',
      'srflx 203.0.113.7:4000',
      'host [fd00::1]:4000',
      'host 192.168.1.5:4000',
    ];
    const shuffled = [...order].reverse().map(candidate);
    expect(texts(shuffled.sort((a, b) => checkOrderOf(a) - checkOrderOf(b)))).toEqual(order);
  });
});
