import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { BlockList, isIPv4 } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import { promisify } from 'node:util';
import { type Address, scopeOf } from '../base/address.ts';

type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

/** The next router on this computer's way out, and where it may be asked for a port. */
export interface Gateway {
  /** Of this computer, on the network that the gateway is on. */
  readonly own: string;
  /** For PCP and NAT-PMP. */
  readonly control: Address;
  /** For UPnP: the gateway itself, and everybody on the network (SSDP). */
  readonly discovery: readonly Address[];
}

const CONTROL_PORT = 5351;
const DISCOVERY_PORT = 1900;
const DISCOVERY_GROUP = '239.255.255.250';
const LIST_ROUTES_MS = 2_000;
/** Of the flags in Linux's table: the route leads over a gateway. */
const OVER_GATEWAY = 2;

/**
 * Finds the gateway that IPv4 leaves by. Resolves to undefined where there is none, or where this
 * computer has no private address on its network: then no router translates for it there.
 */
export async function findGateway(interfaces: Interfaces): Promise<Gateway | undefined> {
  const hosts = await defaultRoutes().catch(() => []);
  for (const host of hosts) {
    const own = neighbourOf(host, interfaces);
    if (own !== undefined) {
      const discovery = [host, DISCOVERY_GROUP].map((each) => ({
        host: each,
        port: DISCOVERY_PORT,
      }));
      return { own, control: { host, port: CONTROL_PORT }, discovery };
    }
  }
  return undefined;
}

/** The gateways of the default routes, best first. Node has no function for that. */
async function defaultRoutes(): Promise<string[]> {
  if (process.platform === 'linux') {
    return gatewaysOfLinux(await readFile('/proc/net/route', 'utf8'));
  }
  const { stdout } = await promisify(execFile)('netstat', ['-rn'], { timeout: LIST_ROUTES_MS });
  return gatewaysOfNetstat(stdout);
}

/** Of `/proc/net/route`, where addresses are hexadecimal numbers of the least significant byte first. */
export function gatewaysOfLinux(table: string): string[] {
  const routes = table.split('\n').flatMap((line) => {
    const [, destination, gateway = '', flags = '', , , metric, mask] = line.split('\t');
    if (destination !== '00000000' || mask !== '00000000') return [];
    if ((parseInt(flags, 16) & OVER_GATEWAY) === 0 || !/^[0-9A-F]{8}$/.test(gateway)) return [];
    const host = [...Buffer.from(gateway, 'hex')].reverse().join('.');
    return [{ host, metric: Number(metric) }];
  });
  return routes.sort((a, b) => a.metric - b.metric).map(({ host }) => host);
}

/** Of `netstat -rn`: `default GATEWAY …` on macOS, `0.0.0.0 0.0.0.0 GATEWAY …` on Windows. */
export function gatewaysOfNetstat(table: string): string[] {
  return table.split('\n').flatMap((line) => {
    const [destination, second = '', third = ''] = line.trim().split(/\s+/);
    const gateway = destination === 'default' ? second : third;
    const isDefault =
      destination === 'default' || (destination === '0.0.0.0' && second === '0.0.0.0');
    return isDefault && isIPv4(gateway) ? [gateway] : [];
  });
}

/** The private address that this computer has on the same network as `gateway`. */
export function neighbourOf(gateway: string, interfaces: Interfaces): string | undefined {
  for (const { address, cidr, internal, family } of Object.values(interfaces).flatMap(
    (infos) => infos ?? [],
  )) {
    if (internal || family !== 'IPv4' || scopeOf(address) !== 'private' || cidr === null) continue;
    const network = new BlockList();
    network.addSubnet(address, Number(cidr.split('/')[1]), 'ipv4');
    if (network.check(gateway, 'ipv4') && gateway !== address) return address;
  }
  return undefined;
}
