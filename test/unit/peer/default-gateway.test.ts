import { describe, expect, it } from 'vitest';
import {
  gatewaysOfLinux,
  gatewaysOfNetstat,
  neighbourOf,
} from '../../../src/peer/default-gateway.ts';

const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT';

function route(...[destination, gateway, flags, metric, mask]: readonly string[]): string {
  return ['eth0', destination, gateway, flags, '0', '0', metric, mask, '0', '0', '0'].join('\t');
}

function interfaceWith(address: string, bits: number): Parameters<typeof neighbourOf>[1] {
  const common = { netmask: '', mac: '', internal: false, family: 'IPv4' } as const;
  return { eth0: [{ ...common, address, cidr: `${address}/${bits}` }] };
}

describe('the gateway that IPv4 leaves by', () => {
  it('is the one of least cost in the table of Linux', () => {
    const table = [
      HEAD,
      route('00000000', '0101A8C0', '0003', '600', '00000000'),
      route('00000000', 'FE01000A', '0003', '100', '00000000'),
      route('0001A8C0', '00000000', '0001', '100', '00FFFFFF'),
      '',
    ].join('\n');
    expect(gatewaysOfLinux(table)).toEqual(['10.0.1.254', '192.168.1.1']);
  });

  it('is none where the way out has none, or the table is another', () => {
    const direct = route('00000000', '00000000', '0001', '0', '00000000');
    expect(gatewaysOfLinux([HEAD, direct].join('\n'))).toEqual([]);
    expect(gatewaysOfLinux('')).toEqual([]);
  });

  it('is read of what netstat says on macOS and on Windows', () => {
    const mac = 'Internet:\nDestination Gateway Flags Netif\ndefault 192.168.1.1 UGScg en0\n';
    const windows =
      '  Network Destination\r\n   0.0.0.0   0.0.0.0   10.0.0.138   10.0.0.4   25\r\n';
    expect(gatewaysOfNetstat(`${mac}default fe80::1%en0 UGcIg en0\n`)).toEqual(['192.168.1.1']);
    expect(gatewaysOfNetstat(windows)).toEqual(['10.0.0.138']);
  });

  it.each([
    ['is on our network', '192.168.1.10', 24, '192.168.1.1', '192.168.1.10'],
    ['is beyond it', '192.168.1.10', 24, '192.168.2.1', undefined],
    ['is on a public network: nobody translates', '203.0.113.9', 24, '203.0.113.1', undefined],
    ['is this computer', '192.168.1.10', 24, '192.168.1.10', undefined],
  ])('%s', (_name, address, bits, gateway, own) => {
    expect(neighbourOf(gateway, interfaceWith(address, bits))).toBe(own);
  });
});
