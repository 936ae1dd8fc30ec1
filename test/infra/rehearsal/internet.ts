import { must } from '../../support/command.ts';
import { ruleset, type Linked } from './firewall.ts';
import { METADATA_ADDRESS, macOf } from './metadata.ts';
import { ip, makeNamespace } from '../../support/namespaces.ts';
import { inside } from './namespaces.ts';
import { RESOLVER_ADDRESS } from './resolver.ts';
import type { Rule } from '../fake-aws/ec2-security-groups.ts';
import type { Instance } from '../fake-aws/ec2-instances.ts';

/** Where the fake's endpoint is. */
export const AWS_ADDRESS = '198.18.0.1';
/** Every host's way out, on the other end of its own wire. */
const GATEWAY = '169.254.1.1';
const GATEWAY6 = 'fe80::1';

/** Somebody on the internet. */
export type Place = { name: string; namespace: string };

/**
 * The network of a rehearsal. The namespace this process is in is the router of everything: the
 * internet, and the VPC with its gateway. Each host and each home is a namespace joined to it by a
 * wire; homes have a router of their own that hides them behind one public address (masquerade).
 */
export class Internet {
  readonly #prefix: string;
  readonly #devices = new Map<string, string>();
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #cut = new Set<string>();
  #made = 0;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  async open(): Promise<void> {
    for (const address of [METADATA_ADDRESS, RESOLVER_ADDRESS, AWS_ADDRESS]) {
      await ip('address', 'add', `${address}/32`, 'dev', 'lo');
    }
    await must('sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  }

  /** Joins a host to the VPC; the name of its namespace. */
  async join(instance: Instance): Promise<string> {
    this.#made += 1;
    const device = `h${this.#made}`;
    const namespace = `${this.#prefix}${device}`;
    const { privateAddress, ipv6Address } = instance;
    await this.#wire(
      namespace,
      device,
      [privateAddress, ...(ipv6Address === undefined ? [] : [ipv6Address])],
      macOf(privateAddress),
    );
    this.#devices.set(instance.instanceId, device);
    return namespace;
  }

  /** The namespace a joined host is in. */
  namespaceOf(instance: Instance): string {
    return `${this.#prefix}${this.#devices.get(instance.instanceId) ?? ''}`;
  }

  /** Takes a host's wire away. */
  async leave(instance: Instance): Promise<void> {
    const device = this.#devices.get(instance.instanceId);
    this.#devices.delete(instance.instanceId);
    if (device !== undefined) await ip('link', 'del', device);
  }

  /** Somebody with public addresses and nothing in between. */
  async visitor(addresses: readonly string[]): Promise<Place> {
    const namespace = `${this.#prefix}visitor`;
    await this.#wire(namespace, 'w-visitor', addresses);
    return { name: 'the internet', namespace };
  }

  /** Somebody at home, behind a router with this public address. */
  async home(name: string, publicAddress: string): Promise<Place> {
    const [router, namespace] = [`${this.#prefix}${name}-router`, `${this.#prefix}${name}`];
    await this.#wire(router, `w-${name}`, [publicAddress]);
    await makeNamespace(namespace);
    await ip(
      '-n',
      router,
      'link',
      'add',
      'lan',
      'type',
      'veth',
      'peer',
      'eth0',
      'netns',
      namespace,
    );
    await ip('-n', router, 'address', 'add', '192.168.1.1/24', 'dev', 'lan');
    await ip('-n', router, 'link', 'set', 'lan', 'up');
    await ip('-n', namespace, 'address', 'add', '192.168.1.23/24', 'dev', 'eth0');
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    await ip('-n', namespace, 'route', 'add', 'default', 'via', '192.168.1.1');
    const [command, ...args] = inside(router);
    await must(command, [...args, 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']);
    await must(command, [...args, 'nft', '-f', '-'], { input: HOME_ROUTER });
    return { name, namespace };
  }

  /** Brings public addresses and security groups up to what is recorded. */
  async enforce(
    instances: readonly Instance[],
    rules: readonly Rule[],
    publicAddressOf: (instance: Instance) => string | undefined,
  ): Promise<void> {
    const linked: Linked[] = instances.flatMap((instance) => {
      const device = this.#devices.get(instance.instanceId);
      return device === undefined
        ? []
        : [{ device, instance, publicAddress: publicAddressOf(instance) }];
    });
    await must('nft', ['-f', '-'], { input: ruleset(linked, rules) });
  }

  /** From now on no packet reaches this host or comes from it. */
  async cutOff(instance: Instance): Promise<void> {
    const device = this.#devices.get(instance.instanceId);
    if (device === undefined) return;
    this.#cut.add(device);
    await ip('link', 'set', device, 'down');
  }

  /** Everybody who was cut off is back. */
  async heal(): Promise<void> {
    for (const device of this.#cut) {
      await ip('link', 'set', device, 'up');
      await this.#routes(device, this.#addresses.get(device) ?? []);
    }
    this.#cut.clear();
  }

  async #wire(
    namespace: string,
    device: string,
    addresses: readonly string[],
    mac?: string,
  ): Promise<void> {
    await makeNamespace(namespace);
    await ip('link', 'add', device, 'type', 'veth', 'peer', 'eth0', 'netns', namespace);
    await ip('address', 'add', `${GATEWAY}/32`, 'dev', device);
    await ip('link', 'set', device, 'up');
    if (mac !== undefined) await ip('-n', namespace, 'link', 'set', 'eth0', 'address', mac);
    for (const address of addresses) {
      await ip(
        '-n',
        namespace,
        'address',
        'add',
        address,
        'dev',
        'eth0',
        ...(isIpv6(address) ? ['nodad'] : []),
      );
    }
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    await ip('-n', namespace, 'route', 'add', 'default', 'via', GATEWAY, 'dev', 'eth0', 'onlink');
    if (addresses.some(isIpv6)) {
      await ip('-n', namespace, '-6', 'route', 'add', 'default', 'via', GATEWAY6, 'dev', 'eth0');
    }
    await this.#routes(device, addresses);
    this.#addresses.set(device, addresses);
  }

  /** The way to whoever is behind this device, which has to be up. */
  async #routes(device: string, addresses: readonly string[]): Promise<void> {
    // A device that was down has lost its IPv6 addresses.
    await ip('address', 'replace', `${GATEWAY6}/64`, 'dev', device, 'nodad');
    for (const address of addresses) {
      const family = isIpv6(address) ? ['-6'] : [];
      await ip(...family, 'route', 'replace', address, 'dev', device);
    }
  }
}

/** What hides a home: all behind one address, and nobody in whom nobody asked. */
const HOME_ROUTER = `
table ip home {
 chain out { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }
 chain in {
  type filter hook forward priority filter; policy accept;
  iifname "eth0" ct state established,related accept
  iifname "eth0" drop
 }
 chain own {
  type filter hook input priority filter; policy accept;
  iifname "eth0" ct state new drop
 }
}
`;

function isIpv6(address: string): boolean {
  return address.includes(':');
}
