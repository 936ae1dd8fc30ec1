import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AddressScope,
  canonicalIp,
  formatAddress,
  ipFromBytes,
  ipToBytes,
  parseAddress,
  parseHostPort,
  scopeOf,
  sourcePrefix,
} from '../../../src/base/address.ts';

describe('HOST:PORT', () => {
  it.each([
    ['1.2.3.4:5', '1.2.3.4', 5, 'an IPv4 address'],
    ['[::1]:65535', '::1', 65535, 'an IPv6 address'],
    ['[2001:DB8:0:0::1]:80', '2001:db8::1', 80, 'an IPv6 address in another spelling'],
    ['[fe80::1%eth0]:80', 'fe80::1', 80, 'a zone, which means nothing elsewhere'],
    ['[::ffff:1.2.3.4]:80', '1.2.3.4', 80, 'an IPv4 address in IPv6 clothing'],
    ['localhost:0', 'localhost', 0, 'a name, and any free port'],
    ['lb-1.example_x.org:50050', 'lb-1.example_x.org', 50050, 'a name of several labels'],
  ])('reads %s: %s %i (%s)', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
  });

  it.each([
    ['', 'nothing'],
    ['localhost', 'no port'],
    ['localhost:', 'an empty port'],
    [':80', 'an empty host'],
    ['*:80', 'no host'],
    ['localhost:65536', 'a port that is too high'],
    ['localhost:123456', 'a port of six digits'],
    ['localhost:-1', 'a negative port'],
    ['localhost:8o', 'a port that is no number'],
    ['localhost:80 ', 'white space after it'],
    [' localhost:80', 'white space before it'],
    ['local host:80', 'white space within it'],
    ['::1:80', 'IPv6 without brackets'],
    ['[::1]', 'IPv6 without a port'],
    ['[::g]:80', 'what is no IPv6 address'],
    ['[1.2.3.4]:80', 'IPv4 in brackets'],
    ['[localhost]:80', 'a name in brackets'],
    ['1.2.3:80', 'a short IPv4 address'],
    ['1.2.3.400:80', 'an IPv4 address out of range'],
    ['01.2.3.4:80', 'an IPv4 address that could be octal'],
    ['http://localhost:80', 'a URL'],
    ['localhost:80/path', 'a path'],
    ['a@b:80', 'a user'],
    ['lb\u0000:80', 'a control character'],
    ['lb\n:80', 'a line break'],
    ['\u202elb:80', 'a direction mark'],
    [`${'a'.repeat(254)}:80`, 'a name too long for DNS'],
    ['ex\u00e4mple.org:80', 'a name that is not in ASCII'],
  ])('refuses %j: %s', (text) => {
    expect(parseHostPort(text)).toBeUndefined();
    expect(parseAddress(text)).toBeUndefined();
  });

  it('is only an address with an IP address for a host', () => {
    expect(parseAddress('localhost:80')).toBeUndefined();
    expect(parseAddress('1.2.3.4:80')).toEqual({ host: '1.2.3.4', port: 80 });
  });

  it('is read back as it was written, for every address', () => {
    const port = fc.integer({ min: 0, max: 65_535 });
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), port, (ip, number) => {
        const address = { host: canonicalIp(ip), port: number };
        expect(parseAddress(formatAddress(address))).toEqual(address);
      }),
    );
  });

  it('never makes anything throw', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[[\]:.%0-9a-f/]*$/));
    fc.assert(
      fc.property(text, (anything) => {
        for (const read of [parseHostPort, parseAddress, canonicalIp, scopeOf]) read(anything);
        sourcePrefix(anything);
      }),
    );
  });
});

describe('the one spelling of an IP address', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['2001:0DB8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['::FFFF:1.2.3.4', '1.2.3.4'],
    ['::ffff:102:304', '1.2.3.4'],
    ['0:0:0:0:0:ffff:255.255.255.255', '255.255.255.255'],
    ['::1.2.3.4', '::102:304'],
    ['fe80::1%en0', 'fe80::1'],
    ['0:0:0:0:0:0:0:0', '::'],
  ])('%s is %s', (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  it.each(['localhost', 'a%b', '1.2.3.4%eth0', '', '%'])('leaves %j, no IP address', (text) => {
    expect(canonicalIp(text)).toBe(text);
  });

  it('is what comes back from bytes, for every IPv6 address', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const host = ipFromBytes(bytes) ?? '';
        expect(canonicalIp(host)).toBe(host);
        expect(ipFromBytes(ipToBytes(host))).toBe(host);
        if (host.includes(':')) expect(ipToBytes(host)).toEqual(bytes);
      }),
    );
  });

  it('is what comes back from the bytes of any spelling', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (ip) => {
        expect(ipFromBytes(ipToBytes(ip))).toBe(canonicalIp(ip));
      }),
    );
  });
});

describe('bytes of an IP address', () => {
  it.each([
    ['1.2.3.255', [1, 2, 3, 255]],
    ['::1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
    ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ['fe80::ab%eth0', [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab]],
    ['ab::', [0, 0xab, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])('%s', (host, bytes) => {
    expect([...ipToBytes(host)]).toEqual(bytes);
  });

  it.each(['localhost', '', '1.2.3', '::g'])('are refused for %j', (host) => {
    expect(() => ipToBytes(host)).toThrow(RangeError);
  });

  it.each([0, 3, 5, 15, 17])('are no address when there are %i', (length) => {
    expect(ipFromBytes(new Uint8Array(length))).toBeUndefined();
  });
});

describe('scopes', () => {
  it.each<[AddressScope, string, string]>([
    ['loopback', '127.0.0.1', ''],
    ['loopback', '127.255.255.254', 'the whole of 127/8'],
    ['loopback', '::1', ''],
    ['loopback', '::ffff:127.0.0.1', 'IPv4 in IPv6 clothing'],
    ['link-local', '169.254.1.1', 'where cloud metadata services live'],
    ['link-local', 'fe80::1', ''],
    ['link-local', 'fe80::1%eth0', 'with its zone'],
    ['link-local', 'febf::1', 'the last of fe80::/10'],
    ['private', '10.0.0.1', 'RFC 1918'],
    ['private', '172.16.0.1', 'the first of 172.16/12'],
    ['private', '172.31.255.255', 'the last of 172.16/12'],
    ['public', '172.15.255.255', 'before 172.16/12'],
    ['public', '172.32.0.0', 'beyond 172.16/12'],
    ['private', '192.168.1.1', ''],
    ['private', '100.64.0.1', 'carrier-grade NAT, RFC 6598'],
    ['public', '100.128.0.0', 'beyond 100.64/10'],
    ['private', 'fd00::1', 'ULA, RFC 4193'],
    ['public', '8.8.8.8', ''],
    ['public', '2001:4860::1', ''],
    ['public', '223.255.255.255', 'the last unicast address'],
    ['unusable', '0.0.0.0', 'unspecified'],
    ['unusable', '0.1.2.3', 'this network'],
    ['unusable', '224.0.0.1', 'multicast'],
    ['unusable', '239.255.255.255', 'multicast'],
    ['unusable', '240.0.0.1', 'class E'],
    ['unusable', '255.255.255.255', 'broadcast'],
    ['unusable', '::', 'unspecified'],
    ['unusable', 'ff02::1', 'multicast'],
    ['unusable', '::ffff:255.255.255.255', 'broadcast in IPv6 clothing'],
    ['unusable', 'localhost', 'no IP address'],
    ['unusable', '', 'nothing'],
  ])('%s: %s %s', (scope, host) => {
    expect(scopeOf(host)).toBe(scope);
  });
});

describe('the prefix that sources are counted by', () => {
  it('is the /64 of an IPv6 address, in any spelling', () => {
    const prefix = sourcePrefix('2001:db8:0:1::1');
    expect(sourcePrefix('2001:DB8:0:1:ffff::2')).toBe(prefix);
    expect(sourcePrefix('2001:db8:0:2::1')).not.toBe(prefix);
  });

  it('is an IPv4 address whole', () => {
    expect(sourcePrefix('1.2.3.4')).not.toBe(sourcePrefix('1.2.3.5'));
  });
});
