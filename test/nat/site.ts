import type { Namespaces } from './namespaces.ts';
import type { RouterModel } from './router-types.ts';
import type { NatRules, Wire } from './wire.ts';

/** A site is this far from the core: 40 ms from a server and back, 80 ms from another site. */
const SITE_DELAY_MS = 20;

/** A router that several homes hang below. */
export interface Carrier {
  readonly name: string;
  readonly address: string;
}

interface SitePlan {
  /** Of letters, unlike any other. */
  readonly name: string;
  readonly model: RouterModel;
  /** Its public address. */
  readonly address: string;
  /** The third number of its private network, 192.168.n.0/24; and of its IPv6 network. */
  readonly subnet: number;
  /** How many computers it has; default 1. */
  readonly computers?: number;
  /** Its computers reach the router, but not each other. */
  readonly isolated?: boolean;
  /** The carrier it is a customer of; by default one of its own. */
  readonly carrier?: Carrier;
  /** Mappings that nobody uses are forgotten after so long; default 120 s. */
  readonly lifetimeMs?: number;
  /** What people may ask its router for a port in; only Linux at home answers. */
  readonly gateway?: GatewayProtocols;
}

/** PCP and NAT-PMP go together. */
export type GatewayProtocols = 'pcp' | 'upnp';

/** Servers have addresses of TEST-NET-3 (RFC 5737), and others for documentation (RFC 3849). */
export const SERVERS_NETWORK = '203.0.113';
export const SERVERS_NETWORK_V6 = '2001:db8:ffff::';
/** Where homes hang below a carrier (RFC 6598). */
const CARRIER_NETWORK = '100.64';

/** STUN Binding requests (RFC 8489 §5) on their way to somebody who is no server. */
const CHECK_COUNTER: readonly string[] = [
  "nft -f - <<'END'",
  'table inet checks {',
  '  chain output {',
  '    type filter hook output priority filter; policy accept;',
  '    meta l4proto != udp accept',
  '    @th,64,16 != 0x0001 accept',
  '    @th,96,32 != 0x2112a442 accept',
  `    ip daddr != ${SERVERS_NETWORK}.0/24 counter`,
  `    ip6 daddr != ${SERVERS_NETWORK_V6}/48 counter`,
  '  }',
  '}',
  'END',
];

/** The people of one place: computers behind one router, each a network namespace. */
export class Site {
  readonly plan: SitePlan;
  readonly #namespaces: Namespaces;
  readonly #wire: Wire;
  /** What hangs on the wire, the outermost last. */
  readonly #nodes: string[] = [];
  #address: string;

  private constructor(plan: SitePlan, namespaces: Namespaces, wire: Wire) {
    this.plan = plan;
    this.#namespaces = namespaces;
    this.#wire = wire;
    this.#address = plan.address;
  }

  static async build(plan: SitePlan, namespaces: Namespaces, wire: Wire): Promise<Site> {
    const site = new Site(plan, namespaces, wire);
    try {
      await site.#build();
      return site;
    } catch (error) {
      await site.remove();
      throw error;
    }
  }

  /** Its address as the world sees it. */
  get address(): string {
    return this.#address;
  }

  /** The names of its computers. */
  get computers(): string[] {
    const count = this.plan.computers ?? 1;
    return Array.from({ length: count }, (_, index) => `${this.plan.name}-${index + 1}`);
  }

  /** The addresses that a computer has by itself. */
  ownAddresses(computer: number): string[] {
    const { model, subnet } = this.plan;
    if (model.translation.by === 'nobody') return [this.#address];
    const v4 = `192.168.${subnet}.${10 + computer}`;
    return model.ipv6 ? [v4, `2001:db8:${subnet}::${10 + computer}`] : [v4];
  }

  /** Where its neighbour, behind the same router or below the same carrier, would look for it. */
  neighbourAddress(computer: number): string {
    return this.plan.carrier === undefined
      ? `192.168.${this.plan.subnet}.${10 + computer}`
      : this.#homeAddress;
  }

  /** The node through which all it sends passes. */
  get uplink(): string {
    return this.#nodes.at(-1) ?? '';
  }

  /** The one that has the public address. */
  get #outermost(): string {
    return this.plan.carrier?.name ?? this.uplink;
  }

  /** Its router loses what it knew of the mappings; the next ones have other ports. */
  async rebind(): Promise<void> {
    const { translation } = this.plan.model;
    if (translation.by === 'nobody') return;
    if (translation.by !== 'linux') return this.#wire.rebind(this.#outermost);
    // Linux forgets the masqueraded connections of a device that goes down.
    await this.#script([
      'ip link set wan down',
      'ip link set wan up',
      'ip route add default dev wan',
      ...(this.plan.model.ipv6 ? ['ip -6 route add default dev wan'] : []),
      ...(translation.ports === 'random'
        ? []
        : [
            // Of the ports that are not the sockets' own; each socket has one towards everybody, still.
            'nft insert rule ip nat postrouting oifname wan meta l4proto udp masquerade to :60000-65000',
          ]),
    ]);
  }

  /** The carrier gives it another address. */
  async move(address: string): Promise<void> {
    const { translation } = this.plan.model;
    await this.#wire.move(this.#outermost, address);
    if (translation.by === 'linux' || translation.by === 'nobody') {
      await this.#script([
        `ip address add ${address}/32 dev wan`,
        `ip address del ${this.#address}/32 dev wan`,
      ]);
    }
    this.#address = address;
  }

  /** Only what is asked for comes as far as the router itself, so early packets leave no trace. */
  async dropEarlyPackets(): Promise<void> {
    await this.#script([
      "nft 'add chain inet filter input { type filter hook input priority filter; policy accept; }'",
      'nft add rule inet filter input iifname wan ct state new drop',
    ]);
  }

  lose(permille: number): Promise<void> {
    return this.#wire.lose(this.uplink, permille);
  }

  cut(cut: boolean): Promise<void> {
    return this.#wire.cut(this.uplink, cut);
  }

  /** From now on its computers reach the router, but not each other; or they do again. */
  async isolate(isolated: boolean): Promise<void> {
    const state = isolated ? 'on' : 'off';
    await this.#script(
      this.computers.map((_, index) => `bridge link set dev c${index} isolated ${state}`),
    );
  }

  /** How many ports its router leads to somebody inside because it was asked to. */
  async mappedPorts(): Promise<number> {
    const rules = await this.#namespaces.read(
      this.#router,
      'nft list chain inet gateway prerouting_miniupnpd',
    );
    return rules.split('\n').filter((line) => line.includes('dnat')).length;
  }

  /** How many connectivity checks a computer has sent by UDP, but for what it asked servers. */
  async checksSent(computer: number): Promise<number> {
    const name = this.computers[computer] ?? '';
    const told = await this.#namespaces.inside(name, ['nft list chain inet checks output']);
    const counts = [...told.matchAll(/counter packets (\d+)/g)].map(([, packets]) =>
      Number(packets),
    );
    return counts.reduce((sum, packets) => sum + packets, 0);
  }

  async remove(): Promise<void> {
    await this.#namespaces.remove(this.#router, ...this.computers);
    for (const node of this.#nodes.splice(0)) await this.#wire.remove(node);
  }

  get #router(): string {
    return this.plan.model.translation.by === 'nobody'
      ? (this.computers[0] ?? '')
      : `${this.plan.name}-router`;
  }

  async #script(commands: readonly string[]): Promise<void> {
    await this.#namespaces.inside(this.#router, commands);
  }

  async #build(): Promise<void> {
    const all = new Set([this.#router, ...this.computers]);
    const name = (computer: string): string => this.#namespaces.nameOf(computer);
    await this.#namespaces.script([...all].map((each) => `ip netns add ${name(each)}`));
    await this.#hangUp();
    await this.#script(this.plan.model.translation.by === 'nobody' ? this.#alone() : this.#home());
    const { gateway } = this.plan;
    if (gateway !== undefined) await this.#script(answering(gateway));
    const names = this.computers;
    await Promise.all(names.map((each) => this.#namespaces.inside(each, CHECK_COUNTER)));
    if (this.#router === this.computers[0]) return;
    const { subnet, isolated = false, model } = this.plan;
    const commands = this.computers.flatMap((computer, index) => [
      `ip netns exec ${name(computer)} sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'`,
      `ip -n ${name(this.#router)} link add c${index} type veth peer name eth0 netns ${name(computer)}`,
      `ip -n ${name(this.#router)} link set c${index} master lan up`,
      ...(isolated ? [`bridge -n ${name(this.#router)} link set dev c${index} isolated on`] : []),
      `ip -n ${name(computer)} link set lo up`,
      `ip -n ${name(computer)} address add 192.168.${subnet}.${10 + index}/24 dev eth0`,
      `ip -n ${name(computer)} link set eth0 up`,
      `ip -n ${name(computer)} route add default via 192.168.${subnet}.1`,
      ...(model.ipv6
        ? [
            `ip -n ${name(computer)} address add 2001:db8:${subnet}::${10 + index}/64 dev eth0 nodad`,
            `ip -n ${name(computer)} route add default via 2001:db8:${subnet}::1`,
          ]
        : []),
    ]);
    await this.#namespaces.script(commands);
  }

  /** Its place on the wire: the line to the core begins behind the router at home. */
  async #hangUp(): Promise<void> {
    const { name, model, address, subnet, carrier } = this.plan;
    const { translation } = model;
    const wan = `${name}-wan`;
    const namespace = this.#namespaces.nameOf(this.#router);
    const link = async (parent: string, delayMs: number, at: string, bits: number) => {
      await this.#wire.link(wan, parent, delayMs, namespace, 'wan');
      this.#nodes.unshift(wan);
      await this.#wire.at(wan, at, bits);
    };
    const router = async (node: string, delayMs: number, rules: NatRules) => {
      const { lifetimeMs = rules.lifetimeMs } = this.plan;
      await this.#wire.router(node, 'core', delayMs, address, { ...rules, lifetimeMs });
      this.#nodes.push(node);
    };
    if (translation.by === 'wire') {
      await router(`${name}-nat`, SITE_DELAY_MS, translation.rules);
      await link(`${name}-nat`, 0, `192.168.${subnet}.0`, 24);
    } else if (translation.by === 'linux-and-carrier') {
      if (carrier === undefined) await router(`${name}-carrier`, 0, translation.rules);
      await link(carrier?.name ?? `${name}-carrier`, SITE_DELAY_MS, this.#homeAddress, 32);
    } else {
      await link('core', SITE_DELAY_MS, address, 32);
      if (model.ipv6) await this.#wire.at(wan, `2001:db8:${subnet}::`, 64);
    }
  }

  /** Of the router at home, on its way out. */
  get #homeAddress(): string {
    const { model, address, subnet } = this.plan;
    return model.translation.by === 'linux-and-carrier'
      ? `${CARRIER_NETWORK}.${subnet}.2`
      : address;
  }

  #alone(): string[] {
    return [
      'ip link set lo up',
      `ip address add ${this.plan.address}/32 dev wan`,
      'ip link set wan up',
      'ip route add default dev wan',
    ];
  }

  #home(): string[] {
    const { subnet, model, lifetimeMs } = this.plan;
    const { translation } = model;
    const commands = [
      'echo 1 > /proc/sys/net/ipv4/ip_forward',
      'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad',
      // What passes between neighbours is no business of the router's filters.
      'for each in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $each ] || echo 0 > $each; done',
      'ip link set lo up',
      'ip link add lan type bridge',
      `ip address add 192.168.${subnet}.1/24 dev lan`,
      'ip link set lan up',
      'ip link set wan up',
    ];
    if (translation.by !== 'wire') {
      const ports = translation.by === 'linux' ? translation.ports : 'preserved';
      commands.push(`ip address add ${this.#homeAddress}/32 dev wan`, ...translator(model, ports));
      if (lifetimeMs !== undefined) {
        const [seconds, files] = [lifetimeMs / 1000, '/proc/sys/net/netfilter/nf_conntrack_udp'];
        commands.push(`echo ${seconds} > ${files}_timeout`);
        commands.push(`echo ${seconds} > ${files}_timeout_stream`);
      }
    }
    commands.push('ip route add default dev wan');
    if (model.ipv6) {
      commands.push(
        'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding',
        `ip address add 2001:db8:${subnet}::1/64 dev lan nodad`,
        'ip -6 route add default dev wan',
      );
    }
    return commands;
  }
}

/** Linux as a home router. */
function translator({ udp }: RouterModel, ports: 'preserved' | 'random'): string[] {
  const blocked = {
    all: '',
    443: 'iifname "lan" udp dport != 443 drop',
    none: 'iifname "lan" meta l4proto udp drop',
  }[udp];
  return [
    "nft -f - <<'END'",
    'table ip nat {',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat',
    `    oifname "wan" masquerade ${ports === 'random' ? 'fully-random' : ''}`,
    '  }',
    '}',
    'table inet filter {',
    '  chain forward {',
    '    type filter hook forward priority filter; policy drop',
    `    ${blocked}`,
    '    iifname "lan" oifname "wan" accept',
    '    iifname "wan" ct state established,related accept',
    '  }',
    '}',
    'END',
  ];
}

/** A router that gives ports to those who ask: Debian's miniupnpd, which ends with its namespace. */
function answering(protocol: GatewayProtocols): string[] {
  const speaks = (which: GatewayProtocols): string => (which === protocol ? 'yes' : 'no');
  return [
    "nft -f - <<'END'",
    'table inet gateway {',
    '  chain miniupnpd { }',
    '  chain prerouting_miniupnpd { }',
    '  chain postrouting_miniupnpd { }',
    '  chain forward { type filter hook forward priority filter; jump miniupnpd; }',
    '  chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }',
    '}',
    'END',
    'nft add rule inet filter forward iifname wan ct status dnat accept',
    // Seen by it alone, and gone with it: one that runs elsewhere is no business of its.
    'mount -t tmpfs chatty /run',
    "miniupnpd -P /run/miniupnpd.pid -f /dev/stdin <<'END'",
    ...['ext_ifname=wan', 'listening_ip=lan', 'http_port=0', 'secure_mode=yes'],
    ...[`enable_natpmp=${speaks('pcp')}`, `enable_upnp=${speaks('upnp')}`],
    ...['upnp_table_name=gateway', 'upnp_nat_table_name=gateway'],
    'uuid=6c3a2f6e-0d4a-4a57-9d0c-63686174747a',
    'allow 1024-65535 0.0.0.0/0 1024-65535',
    'END',
  ];
}
