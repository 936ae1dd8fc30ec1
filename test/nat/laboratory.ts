import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Address } from '../../src/base/address.ts';
import type { Diagnosis } from '../../src/cli/network-diagnosis.ts';
import { removeAbandoned } from '../support/namespaces.ts';
import { Cluster } from './cluster.ts';
import { LABORATORY, Namespaces } from './namespaces.ts';
import { PlainComputer, type PlainSocket } from './plain-computer.ts';
import { ask, behaviourOf, type Neighbourhood, neighbourhoodOf, type Observer } from './proof.ts';
import { type Behaviour, modelOf, type RouterType } from './router-types.ts';
import {
  type Carrier,
  type GatewayProtocols,
  SERVERS_NETWORK,
  SERVERS_NETWORK_V6,
  Site,
} from './site.ts';
import { Wire } from './wire.ts';

/** Public computers: where the daemons run, and two that only observe. */
const BALANCERS = ['lb1', 'lb2'] as const;
const SERVERS = ['rv1', 'rv2', 'rv3'] as const;
const OBSERVERS = ['plain1', 'plain2'] as const;
const PUBLIC = [...BALANCERS, ...SERVERS, ...OBSERVERS] as const;

/** Sites have addresses of TEST-NET-2 (RFC 5737). */
const SITES_NETWORK = '198.51.100';
/** Those whose routers give out ports have others: miniupnpd takes TEST-NET for no public address. */
const GATEWAYS_NETWORK = '11.0.0';

const DOCTOR = fileURLToPath(new URL('../../bin/chatty', import.meta.url));

/** The subnets that sites are given; above them are those that are asked for. */
const SUBNETS = 240;

interface LaboratoryOptions {
  /** Whether there are daemons on the public computers; default true. */
  readonly cluster?: boolean;
  /** More of what the rendezvous servers are started with. */
  readonly serverArgs?: readonly string[];
}

interface SiteOptions {
  readonly computers?: number;
  readonly isolated?: boolean;
  readonly subnet?: number;
  readonly carrier?: Carrier;
  readonly lifetimeMs?: number;
  readonly gateway?: GatewayProtocols;
}

/**
 * The whole of it: public computers with a real cluster on them, sites that come and go, and the wire
 * that joins them. One process has one.
 */
export class Laboratory implements AsyncDisposable {
  readonly namespaces: Namespaces;
  readonly wire: Wire;
  readonly cluster: Cluster;
  readonly #observers: Observer[] = [];
  readonly #proven = new Map<RouterType, Promise<Behaviour>>();
  #addresses = 0;
  #sitesBuilt = 0;

  private constructor(wire: Wire, serverArgs: readonly string[]) {
    this.wire = wire;
    this.namespaces = new Namespaces();
    this.cluster = new Cluster({
      balancers: BALANCERS,
      servers: SERVERS,
      on: (computer) => this.namespaces.on(computer),
      addressesOf: (computer) => publicAddressesOf(computer as (typeof PUBLIC)[number]),
      serverArgs,
    });
  }

  /** @param seed of ports and losses. */
  static async start(
    seed: number,
    { cluster = true, serverArgs = [] }: LaboratoryOptions = {},
  ): Promise<Laboratory> {
    await removeAbandoned(LABORATORY);
    const laboratory = new Laboratory(await Wire.start(seed), serverArgs);
    try {
      await Promise.all(PUBLIC.map((computer) => laboratory.#publicComputer(computer)));
      await Promise.all([
        ...(cluster ? [laboratory.cluster.start()] : []),
        ...OBSERVERS.map((computer) => laboratory.#observer(computer)),
      ]);
      return laboratory;
    } catch (error) {
      await laboratory[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A public address that no site has had for long. */
  newAddress(network = SITES_NETWORK): string {
    return `${network}.${(++this.#addresses % 254) + 1}`;
  }

  /** A site that is proven to be what it is called. */
  async site(type: RouterType, options: SiteOptions = {}): Promise<Site> {
    await this.prove(type);
    return this.#build(type, options);
  }

  /** A router that several homes may hang below. */
  async carrier(hairpin: boolean): Promise<Carrier> {
    const { translation } = modelOf('cgn');
    if (translation.by !== 'linux-and-carrier') throw new Error('a carrier is on the wire');
    const address = this.newAddress();
    const name = `carrier-${address}`;
    await this.wire.router(name, 'core', 0, address, { ...translation.rules, hairpin });
    await this.wire.isolate(name);
    return { name, address };
  }

  /** What a network of this type does, found out once with plain sockets. */
  prove(type: RouterType): Promise<Behaviour> {
    let proof = this.#proven.get(type);
    if (proof === undefined) {
      proof = this.#prove(type);
      this.#proven.set(type, proof);
    }
    return proof;
  }

  /** The same for a site, by its first computer. */
  async behaviourOf(site: Site): Promise<Behaviour> {
    const [one, other] = this.#observers;
    if (one === undefined || other === undefined) throw new Error('there are no observers');
    await using computer = this.plainComputer(site, 0);
    return await behaviourOf(computer, site.ownAddresses(0), [one, other]);
  }

  /** What two people of one network find of each other with plain sockets. */
  async neighbourhoodOf(
    one: { readonly site: Site; readonly computer: number },
    other: { readonly site: Site; readonly computer: number },
  ): Promise<Neighbourhood> {
    await using first = this.plainComputer(one.site, one.computer);
    await using second = this.plainComputer(other.site, other.computer);
    const addresses = [
      one.site.neighbourAddress(one.computer),
      other.site.neighbourAddress(other.computer),
    ] as const;
    return await neighbourhoodOf([first, second], addresses, this.observer);
  }

  /** What `chatty doctor` says at its first computer. */
  async diagnosisOf(site: Site): Promise<Diagnosis> {
    const { loadBalancers, caFile, directory } = this.cluster;
    const args = [
      ...loadBalancers.map((each) => `--lb ${each}`),
      `--ca ${caFile} --state ${join(directory, 'state', site.plan.name)}`,
    ];
    const said = await this.namespaces.read(
      site.computers[0] ?? '',
      `${process.execPath} ${DOCTOR} doctor --json ${args.join(' ')}`,
    );
    return JSON.parse(said) as Diagnosis;
  }

  plainComputer(site: Site, computer: number): PlainComputer {
    return new PlainComputer(this.namespaces.on(site.computers[computer] ?? ''));
  }

  /** Where the world sees a plain socket. */
  seen(socket: PlainSocket): Promise<Address> {
    return ask(socket, this.observer, 'first');
  }

  /** Where a datagram comes back from. */
  get echo(): Address {
    return { host: this.observer.v4, port: this.observer.sockets.echo.port };
  }

  get observer(): Observer {
    const [one] = this.#observers;
    if (one === undefined) throw new Error('there are no observers');
    return one;
  }

  async remove(...sites: readonly Site[]): Promise<void> {
    await Promise.all(sites.map((site) => site.remove()));
  }

  /** Takes all of it away, whatever it was that happened. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#observers.map((each) => each.computer[Symbol.asyncDispose]()));
    await this.cluster.stop();
    await this.namespaces.removeAll();
    await this.wire.stop();
  }

  async #prove(type: RouterType): Promise<Behaviour> {
    const site = await this.#build(type, {});
    try {
      const found = await this.behaviourOf(site);
      const claim = modelOf(type).claim;
      if (!sameBehaviour(found, claim)) {
        throw new Error(
          `${type} is not what it is called: ${JSON.stringify(found)}, not ${JSON.stringify(claim)}`,
        );
      }
      return found;
    } finally {
      await this.remove(site);
    }
  }

  async #build(type: RouterType, options: SiteOptions): Promise<Site> {
    const network = options.gateway === undefined ? SITES_NETWORK : GATEWAYS_NETWORK;
    const address = options.carrier?.address ?? this.newAddress(network);
    const number = ++this.#sitesBuilt;
    const plan = { name: `s${number}`, model: modelOf(type), address, ...options };
    const site = await Site.build(
      { ...plan, subnet: options.subnet ?? (number % SUBNETS) + 1 },
      this.namespaces,
      this.wire,
    );
    return site;
  }

  async #publicComputer(computer: (typeof PUBLIC)[number]): Promise<void> {
    const [v4, v6] = publicAddressesOf(computer);
    const name = this.namespaces.nameOf(computer);
    await this.namespaces.script([`ip netns add ${name}`]);
    await this.wire.link(computer, 'core', 0, name, 'wan');
    await this.wire.at(computer, v4, 32);
    await this.wire.at(computer, v6, 128);
    await this.namespaces.inside(computer, [
      'ip link set lo up',
      `ip address add ${v4}/32 dev wan`,
      `ip address add ${v6}/128 dev wan nodad`,
      'ip link set wan up',
      'ip route add default dev wan',
      'ip -6 route add default dev wan',
    ]);
  }

  async #observer(name: (typeof OBSERVERS)[number]): Promise<void> {
    const computer = new PlainComputer(this.namespaces.on(name));
    const [v4, v6] = publicAddressesOf(name);
    const sockets = {
      first: await computer.open(),
      second: await computer.open(),
      third: await computer.open(),
      port443: await computer.open('0.0.0.0', 443),
      v6: await computer.open('::'),
      echo: await computer.open('0.0.0.0', 0, true),
    };
    const tcpPort = 4434;
    await computer.listenTcp(tcpPort);
    this.#observers.push({ computer, v4, v6, sockets, tcpPort });
  }
}

function publicAddressesOf(computer: (typeof PUBLIC)[number]): readonly [string, string] {
  const number = PUBLIC.indexOf(computer) + 1;
  return [`${SERVERS_NETWORK}.${number}`, `${SERVERS_NETWORK_V6}${number}`];
}

function sameBehaviour(a: Behaviour, b: Behaviour): boolean {
  const flat = ({ ipv4, ...reach }: Behaviour): string =>
    JSON.stringify(Object.entries({ ...reach, ...ipv4 }).sort());
  return flat(a) === flat(b);
}
