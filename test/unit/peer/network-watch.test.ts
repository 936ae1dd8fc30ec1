import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  type NetworkChange,
  NetworkMemory,
  NetworkWatch,
} from '../../../src/peer/network-watch.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const v4 = (address: string, netmask = '255.255.255.0'): NetworkInterfaceInfo => ({
  ...{ address, netmask, family: 'IPv4', mac: '02:00:00:00:00:01' },
  ...{ internal: address.startsWith('127.'), cidr: null },
});
const v6 = (address: string): NetworkInterfaceInfo => ({
  ...{ address, netmask: 'ffff:ffff:ffff:ffff::', family: 'IPv6', mac: '02:00:00:00:00:01' },
  ...{ internal: address === '::1', cidr: null, scopeid: 0 },
});

const HOME = { lo: [v4('127.0.0.1')], wlan0: [v4('192.168.1.5'), v6('2001:db8::5')] };

describe('what is taken for a change of network', () => {
  it.each([
    ['another address', { ...HOME, wlan0: [v4('10.0.0.5'), v6('2001:db8::5')] }],
    ['a second interface', { ...HOME, eth0: [v4('192.168.1.6')] }],
    ['none left', { lo: HOME.lo }],
    [
      'the same address in a larger network',
      { ...HOME, wlan0: [v4('192.168.1.5', '255.255.0.0')] },
    ],
    ['another IPv6 prefix', { ...HOME, wlan0: [v4('192.168.1.5'), v6('2001:db8:1::5')] }],
    ['the address on another interface', { lo: HOME.lo, wlan1: HOME.wlan0 }],
  ])('%s', (_, interfaces) => {
    const memory = new NetworkMemory({ interfaces: HOME, now: 0, wallClock: 0 });
    expect(memory.compare({ interfaces, now: 2_000, wallClock: 2_000 })).toBe('moved');
    expect(memory.compare({ interfaces, now: 4_000, wallClock: 4_000 })).toBeUndefined();
  });

  it.each([
    ['the same', HOME],
    ['the same in another order', { wlan0: [...HOME.wlan0].reverse(), lo: HOME.lo }],
    ['an interface with nothing but a link-local address', { ...HOME, veth0: [v6('fe80::1')] }],
    ['another loopback address', { ...HOME, lo: [v4('127.0.0.1'), v4('127.0.0.2')] }],
  ])('but not %s', (_, interfaces) => {
    const memory = new NetworkMemory({ interfaces: HOME, now: 0, wallClock: 0 });
    expect(memory.compare({ interfaces, now: 2_000, wallClock: 2_000 })).toBeUndefined();
  });
});

describe('what is taken for sleep', () => {
  it.each([
    { now: 4_000, wallClock: 4_000, change: undefined, why: 'a busy machine is late' },
    { now: 4_001, wallClock: 4_001, change: 'woken', why: 'stopped for a while' },
    { now: 2_000, wallClock: 600_000, change: 'woken', why: 'the clock slept, too' },
    { now: 2_000, wallClock: -600_000, change: undefined, why: 'the calendar was set back' },
  ])('$why: $change', ({ now, wallClock, change }) => {
    const memory = new NetworkMemory({ interfaces: HOME, now: 0, wallClock: 0 });
    expect(memory.compare({ interfaces: HOME, now, wallClock })).toBe(change);
  });
});

it('looks every two seconds until it is closed', () => {
  const clock = new VirtualClock();
  const seen: [number, NetworkChange][] = [];
  let interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[]>> = HOME;
  const watch = new NetworkWatch({
    clock,
    interfaces: () => interfaces,
    changed: (change) => seen.push([clock.now(), change]),
  });
  clock.runUntil(60_000);
  expect(seen).toEqual([]);
  interfaces = { lo: HOME.lo };
  clock.runUntil(60_100);
  interfaces = { wlan0: [v4('10.0.0.5')] };
  clock.runUntil(70_000);
  expect(seen).toEqual([[62_000, 'moved']]);
  watch.close();
  expect(clock.nextAt).toBeUndefined();
});
