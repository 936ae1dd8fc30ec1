import { type Address, familyOf, formatAddress } from '../../src/base/address.ts';
import type { Random } from '../../src/base/random.ts';

/** How far mapping or filtering depends on the other end (RFC 4787 §4.1, §5). */
export type Dependence =
  'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** A router as RFC 4787 takes one apart: mapping and filtering are separate behaviours. */
export interface NatBehaviour {
  readonly mapping: Dependence;
  readonly filtering: Dependence;
  readonly ports: 'preserving' | 'sequential' | 'random';
  readonly hairpinning?: boolean;
  /** How long a mapping lives after the last packet from inside (default: for ever). */
  readonly mappingLifetimeMs?: number;
  /**
   * Linux: an unexpected packet takes the port it came to, and the mapping has to move; the next
   * mapping of the same inside address then has the port that the newest one has, if it can.
   */
  readonly earlyPacketsTakePorts?: boolean;
}

interface Mapping {
  readonly inside: Address;
  readonly port: number;
  readonly opened: Set<string>;
  usedAt: number;
}

/** One router with one public address. */
export class Nat {
  readonly behaviour: NatBehaviour;
  publicHost: string;
  readonly #random: Random;
  readonly #mappings = new Map<string, Mapping>();
  /** A port is shared by flows of one inside address to different remotes. */
  readonly #byPort = new Map<number, Mapping[]>();
  readonly #taken = new Set<string>();
  /** Of each inside address, the port of the newest mapping. */
  readonly #newest = new Map<string, number>();
  #nextPort: number;

  constructor(publicHost: string, behaviour: NatBehaviour, random: Random) {
    this.publicHost = publicHost;
    this.behaviour = behaviour;
    this.#random = random;
    this.#nextPort = 20_000 + random.below(20_000);
  }

  /** The public source address of a packet from inside. */
  outbound(inside: Address, remote: Address, now: number): Address {
    const key = `${formatAddress(inside)} ${this.#part(remote, this.behaviour.mapping)}`;
    let mapping = this.#mappings.get(key);
    if (mapping === undefined || this.#expired(mapping, now)) {
      if (mapping !== undefined) this.#forget(mapping);
      const port = this.#choosePort(inside, remote);
      mapping = { inside, port, opened: new Set(), usedAt: now };
      this.#mappings.set(key, mapping);
      this.#byPort.set(port, [...(this.#byPort.get(port) ?? []), mapping]);
      this.#newest.set(formatAddress(inside), port);
    }
    mapping.usedAt = now;
    mapping.opened.add(this.#part(remote, this.behaviour.filtering));
    return { host: this.publicHost, port: mapping.port };
  }

  /** The inside address a packet to `port` goes on to; undefined: it is dropped. */
  inbound(port: number, from: Address, now: number): Address | undefined {
    const mapping = this.#byPort
      .get(port)
      ?.find(({ opened }) => opened.has(this.#part(from, this.behaviour.filtering)));
    if (mapping !== undefined && !this.#expired(mapping, now)) return mapping.inside;
    if (this.behaviour.earlyPacketsTakePorts === true) {
      this.#taken.add(`${port} ${formatAddress(from)}`);
    }
    return undefined;
  }

  /** Everything is forgotten, as by a restart, and the public address may be another one. */
  restart(publicHost: string): void {
    this.publicHost = publicHost;
    this.#mappings.clear();
    this.#byPort.clear();
    this.#taken.clear();
    this.#newest.clear();
  }

  #choosePort(inside: Address, remote: Address): number {
    const isTaken = (port: number): boolean => this.#taken.has(`${port} ${formatAddress(remote)}`);
    const isFree = (port: number): boolean => !this.#byPort.has(port) && !isTaken(port);
    if (this.behaviour.ports === 'preserving') {
      const newest = this.#newest.get(formatAddress(inside));
      const { earlyPacketsTakePorts: isLinux = false } = this.behaviour;
      if (isLinux && newest !== undefined && !isTaken(newest)) return newest;
      // A flow of its own to each remote may share the port of others from the same inside address.
      const sharers = this.#byPort.get(inside.port) ?? [];
      const areOwn = sharers.every((sharer) => sharer.inside.host === inside.host);
      if (areOwn && !isTaken(inside.port)) return inside.port;
    }
    for (;;) {
      const port =
        this.behaviour.ports === 'sequential'
          ? this.#nextPort++
          : 1024 + this.#random.below(65_536 - 1024);
      if (isFree(port)) return port;
    }
  }

  #forget(mapping: Mapping): void {
    const others = this.#byPort.get(mapping.port)?.filter((other) => other !== mapping) ?? [];
    if (others.length === 0) this.#byPort.delete(mapping.port);
    else this.#byPort.set(mapping.port, others);
  }

  #expired(mapping: Mapping, now: number): boolean {
    return now - mapping.usedAt > (this.behaviour.mappingLifetimeMs ?? Infinity);
  }

  #part(address: Address, dependence: Dependence): string {
    if (dependence === 'endpoint-independent') return '*';
    return dependence === 'address-dependent' ? address.host : formatAddress(address);
  }
}

/**
 * A place with its own network: hosts in it reach each other, and the world through its router, which
 * leaves IPv6 as it is.
 */
export interface Site {
  readonly nat: Nat | undefined;
  /** One way to the backbone. */
  readonly delayMs: number;
}

type Receiver = (datagram: Uint8Array, from: Address) => void;

interface Host {
  readonly site: Site;
  readonly receive: Receiver;
}

export interface NetworkConditions {
  readonly random: Random;
  /** Probability that a packet is lost on its way. */
  loss: number;
  /** Up to so much is added to each packet's delay, so that packets overtake each other. */
  readonly jitterMs: number;
}

/** A network of sites under a virtual clock. */
export class SimulatedNetwork {
  now = 0;
  /** Sees each packet as it leaves; false: it is lost. */
  tap: (from: Address, to: Address, datagram: Uint8Array) => boolean = () => true;
  readonly conditions: NetworkConditions;
  readonly #hosts: { readonly address: Address; readonly host: Host }[] = [];
  readonly #routers = new Map<string, Site>();
  #events: { readonly at: number; readonly order: number; readonly run: () => void }[] = [];
  #order = 0;

  constructor(conditions: NetworkConditions) {
    this.conditions = conditions;
  }

  attach(address: Address, site: Site, receive: Receiver): void {
    this.#hosts.push({ address, host: { site, receive } });
    this.reroute(site);
  }

  detach(address: Address, site: Site): void {
    const index = this.#hosts.findIndex(
      (entry) =>
        entry.host.site === site && formatAddress(entry.address) === formatAddress(address),
    );
    if (index >= 0) this.#hosts.splice(index, 1);
  }

  /** The site's router has a public address, perhaps a new one. */
  reroute(site: Site): void {
    if (site.nat !== undefined) this.#routers.set(site.nat.publicHost, site);
  }

  after(delayMs: number, run: () => void): void {
    const event = { at: this.now + Math.max(0, delayMs), order: this.#order++, run };
    let index = this.#events.length;
    while (index > 0 && (this.#events[index - 1]?.at ?? 0) > event.at) index--;
    this.#events.splice(index, 0, event);
  }

  runUntil(end: number): void {
    for (;;) {
      const [event] = this.#events;
      if (event === undefined || event.at > end) break;
      this.#events.shift();
      this.now = event.at;
      event.run();
    }
    this.now = end;
  }

  /** The public address that packets from `inside` to `remote` come from; the mapping is made. */
  publicAddressOf(inside: Address, site: Site, remote: Address): Address {
    if (familyOf(inside) === 6) return inside;
    return site.nat?.outbound(inside, remote, this.now) ?? inside;
  }

  /** @param short whether it passes the site's own router and dies then. */
  send(from: Address, site: Site, to: Address, datagram: Uint8Array, short = false): void {
    const { random, loss, jitterMs } = this.conditions;
    const jitter = random.fraction() * jitterMs;
    const isLost = !this.tap(from, to, datagram) || random.fraction() < loss;
    const copy = datagram.slice();
    const neighbour = this.#find(to, (host) => host.site === site);
    if (neighbour !== undefined) {
      if (!isLost) this.after(0.2 + jitter / 20, () => this.#hand(to, site, copy, from));
      return;
    }
    const source = this.publicAddressOf(from, site, to);
    const isHairpin = site.nat !== undefined && to.host === site.nat.publicHost;
    if (isHairpin && site.nat.behaviour.hairpinning !== true) return;
    if (short) return;
    const target = this.#routers.get(to.host);
    const isRouted = familyOf(to) === 6;
    const open = this.#find(to, (host) => isRouted || host.site.nat === undefined);
    const farDelay = isHairpin ? 0 : (target ?? open?.site)?.delayMs;
    if (farDelay === undefined || isLost) return;
    const delay = (isHairpin ? 1 : site.delayMs) + farDelay + jitter;
    this.after(delay, () => {
      if (target === undefined) {
        this.#hand(to, open?.site, copy, source);
        return;
      }
      if (target.nat?.publicHost !== to.host) return;
      const inside = target.nat.inbound(to.port, source, this.now);
      if (inside !== undefined) this.#hand(inside, target, copy, source);
    });
  }

  #hand(to: Address, site: Site | undefined, datagram: Uint8Array, from: Address): void {
    this.#find(to, (host) => host.site === site)?.receive(datagram, from);
  }

  #find(address: Address, matches: (host: Host) => boolean): Host | undefined {
    const text = formatAddress(address);
    return this.#hosts.find((entry) => formatAddress(entry.address) === text && matches(entry.host))
      ?.host;
  }
}
