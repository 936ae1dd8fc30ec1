import {
  inside,
  ip,
  makeNamespace,
  ownPrefix,
  removeAbandoned,
  removeNamespaces,
} from '../support/namespaces.ts';

/** Begins the names of its namespaces. */
const CHAOS = 'chaos';
const HUB = 'hub';

/**
 * Computers joined by one router, each a network namespace, and so is the router. Between two of
 * them packets vanish without a word while they are cut off from each other: the router has a
 * blackhole rule for either direction. Nothing is touched outside these namespaces.
 */
export class Network {
  readonly #prefix: string;
  readonly #hosts: readonly string[];

  constructor(prefix: string, hosts: readonly string[]) {
    this.#prefix = prefix;
    this.#hosts = hosts;
  }

  /** Makes it, after those whose makers are gone have been removed. */
  static async create(hosts: readonly string[]): Promise<Network> {
    await removeAbandoned(CHAOS);
    const network = new Network(ownPrefix(CHAOS), hosts);
    try {
      await network.#create();
      return network;
    } catch (error) {
      await network.remove();
      throw error;
    }
  }

  get prefix(): string {
    return this.#prefix;
  }

  addressOf(host: string): string {
    return this.#address(host, 2);
  }

  /** What a command line begins with that is to run on this computer. */
  on(host: string): readonly [command: string, ...args: string[]] {
    return inside(this.#namespace(host));
  }

  /** The same for the router, which reaches everybody whatever is cut. */
  get onRouter(): readonly [command: string, ...args: string[]] {
    return this.on(HUB);
  }

  cut(one: string, other: string): Promise<void> {
    return this.#rules('add', one, other);
  }

  heal(one: string, other: string): Promise<void> {
    return this.#rules('del', one, other);
  }

  /** Ends what still runs in it, and takes it away. */
  async remove(): Promise<void> {
    await removeNamespaces((name) => name.startsWith(this.#prefix));
  }

  async #create(): Promise<void> {
    const hub = this.#namespace(HUB);
    await makeNamespace(hub);
    await ip('netns', 'exec', hub, 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
    for (const host of this.#hosts) {
      const name = this.#namespace(host);
      const router = this.#address(host, 1);
      await makeNamespace(name);
      await ip('-n', hub, 'link', 'add', host, 'type', 'veth', 'peer', 'eth0', 'netns', name);
      await ip('-n', hub, 'address', 'add', `${router}/30`, 'dev', host);
      await ip('-n', hub, 'link', 'set', host, 'up');
      await ip('-n', name, 'address', 'add', `${this.addressOf(host)}/30`, 'dev', 'eth0');
      await ip('-n', name, 'link', 'set', 'eth0', 'up');
      await ip('-n', name, 'route', 'add', 'default', 'via', router);
    }
  }

  async #rules(verb: 'add' | 'del', one: string, other: string): Promise<void> {
    const [a, b] = [this.addressOf(one), this.addressOf(other)];
    const hub = this.#namespace(HUB);
    await ip('-n', hub, 'rule', verb, 'from', a, 'to', b, 'blackhole');
    await ip('-n', hub, 'rule', verb, 'from', b, 'to', a, 'blackhole');
  }

  #namespace(host: string): string {
    return this.#prefix + host;
  }

  #address(host: string, last: number): string {
    return `10.77.${this.#hosts.indexOf(host)}.${last}`;
  }
}
