import { BlockList, isIP, isIPv4, isIPv6, SocketAddress } from 'node:net';

/** An IP address (never a host name; IPv4-mapped IPv6 never occurs) and a port in 0–65535. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export type Family = 4 | 6;

/** The address family of an address that holds an IP. */
export function familyOf(address: Address): Family {
  return isIPv6(address.host) ? 6 : 4;
}

/** `1.2.3.4:5` or `[::1]:5`. */
export function formatAddress(address: Address): string {
  return isIPv6(address.host)
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.port === b.port && a.host === b.host;
}

/**
 * Reads `HOST:PORT` or `[IPv6]:PORT`; HOST may be a name, `*` and the empty host are not hosts.
 * @returns undefined where the text is none.
 */
export function parseHostPort(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s/#]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65535) return undefined;
  if (bracketed !== undefined) {
    return isIPv6(bracketed) ? { host: canonicalIp(bracketed), port } : undefined;
  }
  if (plain === undefined) return undefined;
  // All digits and dots must be an IPv4 address in full: `1.2.3` or `300.1.1.1` is a typing error.
  if (/^[\d.]+$/.test(plain) && !isIPv4(plain)) return undefined;
  return isIP(plain) !== 0 || /^[A-Za-z0-9._-]{1,253}$/.test(plain)
    ? { host: plain, port }
    : undefined;
}

/** As `parseHostPort`, but only IP addresses count. */
export function parseAddress(text: string): Address | undefined {
  const address = parseHostPort(text);
  return address !== undefined && isIP(address.host) !== 0 ? address : undefined;
}

/**
 * One spelling per IP address, so that text comparison is comparison: IPv6 compressed and in lower
 * case without zone, IPv4-mapped IPv6 as IPv4. Text that is no IP address is returned as it came.
 */
export function canonicalIp(host: string): string {
  const withoutZone = host.split('%', 1)[0] ?? host;
  if (!isIPv6(withoutZone)) return host;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(withoutZone);
  if (mapped?.[1] !== undefined && isIPv4(mapped[1])) return mapped[1];
  const canonical = new URL(`http://[${withoutZone}]`).hostname.slice(1, -1);
  // URLs spell the last 32 bits of a mapped address in hexadecimal.
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical);
  if (hex === null) return canonical;
  const [high, low] = [parseInt(hex[1] ?? '', 16), parseInt(hex[2] ?? '', 16)];
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/**
 * What an IP address is for. `private` is what a LAN uses (RFC 1918, ULA, the carrier-grade NAT
 * range 100.64/10); `unusable` is what no packet of ours may ever go to (multicast, broadcast,
 * unspecified, IPv4 "this network" and class E).
 */
export type AddressScope = 'loopback' | 'link-local' | 'private' | 'public' | 'unusable';

const SCOPES: readonly (readonly [AddressScope, readonly string[]])[] = [
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['link-local', ['169.254.0.0/16', 'fe80::/10']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']],
  ['unusable', ['0.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4', '::/128', 'ff00::/8']],
];

const scopeLists = SCOPES.map(([scope, subnets]) => {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [net = '', bits = ''] = subnet.split('/');
    list.addSubnet(net, Number(bits), isIPv6(net) ? 'ipv6' : 'ipv4');
  }
  return [scope, list] as const;
});

/** The scope of an IP address; text that is none is `unusable`. */
export function scopeOf(host: string): AddressScope {
  const family = isIP(host);
  if (family === 0) return 'unusable';
  // Made once: given the text, each list would make it anew, which is most of the work.
  const address = new SocketAddress({ address: host, family: family === 6 ? 'ipv6' : 'ipv4' });
  for (const [scope, list] of scopeLists) if (list.check(address)) return scope;
  return 'public';
}

/** The 4 or 16 bytes of an IP address. @throws RangeError if the text is no IP address. */
export function ipToBytes(host: string): Uint8Array {
  if (isIPv4(host)) return Uint8Array.from(host.split('.'), Number);
  if (!isIPv6(host)) throw new RangeError(`${host} is not an IP address`);
  const withoutZone = host.split('%', 1)[0] ?? host;
  const canonical = new URL(`http://[${withoutZone}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => parseInt(group, 16));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const words = [...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back];
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
}

/** The inverse of `ipToBytes`, in canonical spelling. @returns undefined for other lengths. */
export function ipFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  const words = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  );
  return canonicalIp(words.join(':'));
}

/**
 * The network an attacker can be expected to own whole, which caps per source count by: the /32 of
 * an IPv4 address, the /64 of an IPv6 one.
 */
export function sourcePrefix(host: string): string {
  if (!isIPv6(host)) return host;
  return Buffer.from(ipToBytes(host).subarray(0, 8)).toString('hex');
}
