import { familyOf, formatAddress } from '../base/address.ts';
import type { NetworkSurvey } from '../peer/network-survey.ts';

/** What a network lets UDP do. */
type UdpState = 'open' | '443-only' | 'blocked';
/** What a friend behind another kind of network can be reached by. */
type Reach = 'direct' | 'direct-after-guessing' | 'relay' | 'unknown';

/** A survey in the words of RFC 4787, and what it means. */
export interface Diagnosis {
  readonly udp: UdpState;
  /** Whether TCP leads to a server where UDP does not. */
  readonly tunnel: boolean | null;
  readonly ipv4: {
    /** `none`: the computer has the public address itself. */
    readonly mapping: 'none' | 'endpoint-independent' | 'sequential' | 'random' | 'unknown';
    /** How far the mapping depends on the other end, where that is known. */
    readonly dependence: string | null;
    readonly step: number | null;
    readonly portPreserving: boolean | null;
    readonly publicAddress: string | null;
    readonly observers: number;
    readonly filtering: 'endpoint-independent' | 'dependent' | 'unknown';
    readonly hairpinning: boolean | null;
  };
  readonly ipv6: 'works' | 'no-answer' | 'none';
  readonly portMapping: {
    /** What the router speaks that gives out ports. */
    readonly by: 'pcp' | 'nat-pmp' | 'upnp' | 'none' | 'not-tried';
    /** Whether friends reach the port: it has the address that servers see. Null where there is none. */
    readonly usable: boolean | null;
  };
  /** A computer alone cannot tell whether others on its network reach it. */
  readonly clientIsolation: 'unknown';
  readonly servers: readonly { readonly address: string; readonly ms: number | null }[];
  readonly reach: Readonly<Record<FriendNetwork, Reach>>;
}

/** The kinds of network a friend may be in. */
type FriendNetwork = 'ordinary' | 'sequential' | 'random' | 'udp-443' | 'no-udp';

const NO_MAPPING = 'unknown';

/** Reads a survey. Pure. */
export function diagnose(survey: NetworkSurvey): Diagnosis {
  const udp = udpOf(survey);
  const { nat, hairpin } = survey;
  const portMapping = portMappingOf(survey);
  const mapping = nat === undefined ? NO_MAPPING : nat.isOwnAddress ? 'none' : nat.mapping;
  return {
    udp,
    tunnel: udp === 'blocked' ? survey.tcp.length > 0 : null,
    ipv4: {
      mapping,
      dependence: nat?.dependence ?? null,
      step: nat?.mapping === 'sequential' ? nat.step : null,
      portPreserving: nat?.portPreserving ?? null,
      publicAddress: nat === undefined ? null : nat.lastObserved.host,
      observers: nat?.observers.addresses ?? 0,
      filtering: hairpin?.works === true ? filteringOf(hairpin.letsStrangersIn) : 'unknown',
      hairpinning: hairpin?.works ?? null,
    },
    ipv6: ipv6Of(survey),
    portMapping,
    clientIsolation: 'unknown',
    servers: survey.answers.map(({ address, mapped, ms }) => {
      return { address: formatAddress(address), ms: mapped === undefined ? null : Math.round(ms) };
    }),
    // A port that leads here for everybody is as good as an address of one's own.
    reach: reachOf(udp, portMapping.usable === true ? 'none' : mapping),
  };
}

function filteringOf(letsStrangersIn: boolean): 'endpoint-independent' | 'dependent' {
  return letsStrangersIn ? 'endpoint-independent' : 'dependent';
}

function portMappingOf({ portMapping, nat }: NetworkSurvey): Diagnosis['portMapping'] {
  if (typeof portMapping === 'string') return { by: portMapping, usable: null };
  const { protocol, external } = portMapping;
  return { by: protocol, usable: nat?.lastObserved.host === external.host };
}

function udpOf({ answers }: NetworkSurvey): UdpState {
  const answered = answers.filter(({ mapped }) => mapped !== undefined);
  if (answered.length === 0) return 'blocked';
  const isStrict = answered.every(({ address }) => address.port === 443);
  return isStrict && answers.some(({ address }) => address.port !== 443) ? '443-only' : 'open';
}

function ipv6Of({ answers, hasIpv6 }: NetworkSurvey): Diagnosis['ipv6'] {
  const works = answers.some(
    ({ address, mapped }) => familyOf(address) === 6 && mapped !== undefined,
  );
  if (works) return 'works';
  return hasIpv6 ? 'no-answer' : 'none';
}

/** As the table of plans says, seen from here; `ordinary`: one port for everybody, as most homes. */
function reachOf(udp: UdpState, mapping: Diagnosis['ipv4']['mapping']): Diagnosis['reach'] {
  if (udp !== 'open') return all('relay');
  const strict = { 'udp-443': 'relay', 'no-udp': 'relay' } as const;
  switch (mapping) {
    case 'none':
      return { ordinary: 'direct', sequential: 'direct', random: 'direct', ...strict };
    case 'endpoint-independent':
      return {
        ...{ ordinary: 'direct', sequential: 'direct-after-guessing' },
        ...{ random: 'direct-after-guessing', ...strict },
      };
    case 'sequential':
      return {
        ...{ ordinary: 'direct-after-guessing', sequential: 'direct-after-guessing' },
        ...{ random: 'relay', ...strict },
      };
    case 'random':
      return {
        ...{ ordinary: 'direct-after-guessing', sequential: 'relay', random: 'relay' },
        ...strict,
      };
    case 'unknown':
      return all('unknown');
  }
}

function all(reach: Reach): Diagnosis['reach'] {
  return { ordinary: reach, sequential: reach, random: reach, 'udp-443': reach, 'no-udp': reach };
}
