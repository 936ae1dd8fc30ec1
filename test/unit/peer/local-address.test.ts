import { describe, expect, it } from 'vitest';
import { localAddressFor } from '../../../src/peer/local-address.ts';

const own = [
  { host: '192.0.2.1', port: 7 },
  { host: '2001:db8::1', port: 8 },
];
const everywhere = [
  { host: '0.0.0.0', port: 7 },
  { host: '::', port: 8 },
];
const one = [{ host: '198.51.100.1', port: 9 }];

describe('the address that packets come from', () => {
  it.each([
    ['is the one the socket is bound to', '203.0.113.5', one, '198.51.100.1', 9],
    ['is this computer’s, bound to all', '203.0.113.5', everywhere, '192.0.2.1', 7],
    ['is of the family of the other’s', '2001:db8::5', everywhere, '2001:db8::1', 8],
    ['is on loopback towards loopback', '127.0.0.1', everywhere, '127.0.0.1', 7],
    ['is on loopback of the other family too', '::1', everywhere, '::1', 8],
    ['is unknown where no socket is of the family', '2001:db8::5', one, '::', 0],
  ])('%s', (_behaviour, remote, bound, host, port) => {
    expect(localAddressFor({ host: remote, port: 1 }, bound, own)).toEqual({ host, port });
  });
});
