import type { Dependence, NatRules, PortChoice } from './wire.ts';

/** The networks that people sit in, as NAT.md names them. */
export const ROUTER_TYPES = [
  'public',
  'eim-eif',
  'eim-adf',
  'eim-apdf',
  'masquerade',
  'symmetric-sequential',
  'symmetric-random',
  'cgn',
  'udp-443',
  'no-udp',
  'ipv6-firewall',
] as const;

export type RouterType = (typeof ROUTER_TYPES)[number];

/** What plain sockets find a network to do. */
export interface Behaviour {
  /** Which UDP leaves it. */
  readonly udp: 'all' | '443' | 'none';
  /** Whether TCP does. */
  readonly tcp: boolean;
  /** Whether it has IPv6, and whether packets nobody asked for come in by it. */
  readonly ipv6: 'none' | 'firewalled' | 'open';
  /** How IPv4 is translated; left out where not all of UDP leaves. */
  readonly ipv4?: Ipv4Behaviour;
}

interface Ipv4Behaviour {
  /** `none`: the address is one's own. */
  readonly mapping: Dependence | 'none';
  /** `endpoint-independent`: everything comes in. */
  readonly filtering: Dependence;
  readonly ports: PortChoice;
  readonly hairpin: boolean;
  /**
   * A packet that came before one was sent to where it came from is answered by the router itself,
   * and the port is taken for that pair of addresses: what is sent there later gets another port.
   */
  readonly earlyPacketMoves: boolean;
}

/** Linux translates by itself; the wire does it; or nobody does. */
type Translation =
  | { readonly by: 'nobody' }
  | { readonly by: 'linux'; readonly ports: 'preserved' | 'random' }
  | { readonly by: 'wire'; readonly rules: NatRules }
  /** Linux at home, and the wire at the carrier. */
  | { readonly by: 'linux-and-carrier'; readonly rules: NatRules };

export interface RouterModel {
  readonly type: RouterType;
  /** For people. */
  readonly label: string;
  readonly translation: Translation;
  /** Which UDP leaves. */
  readonly udp: 'all' | '443' | 'none';
  /** Its hosts have IPv6 addresses, behind a firewall that lets in answers only. */
  readonly ipv6: boolean;
  readonly claim: Behaviour;
}

/** Of most home routers: RFC 4787 §4.3 asks for 120 s at least. */
const LIFETIME_MS = 120_000;

const OPEN: Ipv4Behaviour = {
  mapping: 'none',
  filtering: 'endpoint-independent',
  ports: 'preserved',
  hairpin: true,
  earlyPacketMoves: false,
};

function onWire(type: RouterType, label: string, rules: Omit<NatRules, 'lifetimeMs'>): RouterModel {
  return {
    ...{ type, label, udp: 'all', ipv6: false },
    translation: { by: 'wire', rules: { ...rules, lifetimeMs: LIFETIME_MS } },
    claim: { udp: 'all', tcp: true, ipv6: 'none', ipv4: { ...rules, earlyPacketMoves: false } },
  };
}

interface LinuxOptions {
  readonly udp?: 'all' | '443' | 'none';
  readonly ipv6?: boolean;
}

function onLinux(
  type: RouterType,
  label: string,
  ports: 'preserved' | 'random',
  { udp = 'all', ipv6 = false }: LinuxOptions = {},
): RouterModel {
  const ipv4: Ipv4Behaviour = {
    // As long as no other port is in its way it looks endpoint-independent.
    mapping: ports === 'preserved' ? 'endpoint-independent' : 'address-and-port',
    filtering: 'address-and-port',
    ports,
    hairpin: false,
    earlyPacketMoves: ports === 'preserved',
  };
  const claim = { udp, tcp: true, ipv6: ipv6 ? ('firewalled' as const) : ('none' as const) };
  return {
    ...{ type, label, udp, ipv6, translation: { by: 'linux', ports } },
    claim: udp === 'all' ? { ...claim, ipv4 } : claim,
  };
}

const EIM = { mapping: 'endpoint-independent', ports: 'random', hairpin: true } as const;
const SEQUENTIAL = {
  mapping: 'address-and-port',
  filtering: 'address-and-port',
  ports: 'sequential',
  hairpin: false,
} as const;

const CARRIER: NatRules = {
  ...EIM,
  filtering: 'endpoint-independent',
  lifetimeMs: LIFETIME_MS,
};

const MODELS: readonly RouterModel[] = [
  {
    ...{ type: 'public', label: 'public address', udp: 'all', ipv6: false },
    translation: { by: 'nobody' },
    claim: { udp: 'all', tcp: true, ipv6: 'none', ipv4: OPEN },
  },
  onWire('eim-eif', 'EIM, endpoint-independent filtering', {
    ...EIM,
    filtering: 'endpoint-independent',
  }),
  onWire('eim-adf', 'EIM, address-dependent filtering', { ...EIM, filtering: 'address' }),
  onWire('eim-apdf', 'EIM, address- and port-dependent filtering', {
    ...EIM,
    filtering: 'address-and-port',
  }),
  onLinux('masquerade', 'Linux masquerade', 'preserved'),
  onWire('symmetric-sequential', 'symmetric, sequential ports', SEQUENTIAL),
  onLinux('symmetric-random', 'symmetric, random ports', 'random'),
  {
    ...{ type: 'cgn', label: 'carrier NAT with hairpin', udp: 'all', ipv6: false },
    translation: { by: 'linux-and-carrier', rules: CARRIER },
    // Linux at home lets in only what was asked for, and has its habit; the carrier does the rest.
    claim: {
      ...{ udp: 'all', tcp: true, ipv6: 'none' },
      ipv4: {
        ...{ mapping: 'endpoint-independent', filtering: 'address-and-port', ports: 'random' },
        ...{ hairpin: true, earlyPacketMoves: true },
      },
    },
  },
  onLinux('udp-443', 'UDP to port 443 only', 'preserved', { udp: '443' }),
  onLinux('no-udp', 'no UDP', 'preserved', { udp: 'none' }),
  onLinux('ipv6-firewall', 'IPv6 firewall, symmetric IPv4', 'random', { ipv6: true }),
];

/** @throws RangeError for one that there is not. */
export function modelOf(type: RouterType): RouterModel {
  const model = MODELS.find((each) => each.type === type);
  if (model === undefined) throw new RangeError(`no router ${type}`);
  return model;
}
