import { describe, expect, it } from 'vitest';
import {
  balancer,
  clusterBalancer,
  duration,
  fingerprint,
  type Format,
  hostPort,
  integer,
  oneOf,
  orWord,
  path,
  size,
} from '../../../src/config/format.ts';

const PIN = `sha256-${'A'.repeat(43)}`;

describe.each<[string, Format<unknown>, [text: string, value: unknown][], string[]]>([
  [
    'a length of time',
    duration,
    [
      ['5s', 5_000],
      ['250ms', 250],
      ['1.5s', 1_500],
      ['2m', 120_000],
      ['1h', 3_600_000],
      ['0s', 0],
    ],
    ['5', 's', '-1s', '5 s', '1e3s', '1d', '600h', ''],
  ],
  [
    'an address',
    hostPort,
    [
      ['0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
      ['[::1]:4433', { host: '::1', port: 4433 }],
      ['example.org:1', { host: 'example.org', port: 1 }],
    ],
    ['example.org', ':1', '::1:4433', '1.2.3:4', 'a:65536', 'a b:1', 'a:1#x'],
  ],
  [
    'a load balancer',
    balancer,
    [
      ['lb:1', 'lb:1'],
      [`[2001:DB8::1]:1#${PIN}`, `[2001:db8::1]:1#${PIN}`],
    ],
    ['lb', 'lb:0', 'lb:1#sha256-short', 'lb:1#'],
  ],
  [
    "a load balancer's cluster address",
    clusterBalancer,
    [
      ['lb:1', 'lb:1'],
      ['dns:///lb.example.org:50051', 'dns:///lb.example.org:50051'],
    ],
    ['dns://lb:1', 'dns:///lb', 'https://lb:1', 'lb:0'],
  ],
  [
    'an amount of memory',
    size,
    [
      ['512MiB', 536_870_912],
      ['4GiB', 4_294_967_296],
    ],
    ['512', '512MB', '0GiB', '1.5GiB', '-1MiB', 'GiB', ''],
  ],
  [
    'a number or a word',
    orWord(integer(1, 256), 'auto'),
    [
      ['auto', 'auto'],
      ['8', 8],
    ],
    ['off', '0', 'AUTO', ''],
  ],
  [
    'a whole number',
    integer(1, 32),
    [
      ['1', 1],
      ['32', 32],
    ],
    ['0', '33', '1.5', '-1', '', '1e1', '9999999999999'],
  ],
  ['a choice', oneOf(['info', 'warn']), [['warn', 'warn']], ['WARN', '']],
  ['a path', path('DIR'), [['a b', 'a b']], ['', 'a\0b']],
  ['a fingerprint', fingerprint, [[PIN, PIN]], ['sha256-', 'md5-x', `${PIN}A`]],
])('%s', (_name, format, good, bad) => {
  it.each(good)('reads %j', (text, value) => {
    expect(format.read(text)).toEqual(value);
  });

  it.each(good)('shows %j in a form that it reads back', (text) => {
    const value = format.read(text);
    expect(format.read(String(format.show(value)))).toEqual(value);
  });

  it.each(bad)('refuses %j', (text) => {
    expect(format.read(text)).toBeUndefined();
  });
});
