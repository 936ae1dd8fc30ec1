import { type Address, formatAddress, sameAddress } from '../base/address.ts';

/** How far mapping or filtering depends on the other end (RFC 4787 §4.1, §5). */
type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** One STUN server's word on where a question of one socket of ours came from. */
export interface Observation {
  /** The address that was asked. */
  readonly server: Address;
  /** The address it saw. */
  readonly mapped: Address;
  /** When it was asked, or answered: in the order of the mappings, on the peer's clock. */
  readonly at: number;
}

/** How the NAT before a socket chooses the socket's public address (RFC 4787 §4.1, §4.2). */
export interface NatClassification {
  /**
   * What matters to whoever wants to reach the socket: its port is the same towards everybody; or
   * can be foreseen; or cannot.
   */
  readonly mapping: 'endpoint-independent' | 'sequential' | 'random';
  /** How far the mapping depends on the other end; undefined: the observers do not tell. */
  readonly dependence: Dependence | undefined;
  /** From the port of one mapping to that of the next; 0 unless they are sequential. */
  readonly step: number;
  /** Whether a mapping has the socket's own port (RFC 4787 §4.2.1), as far as it was seen. */
  readonly portPreserving: boolean;
  /** Whether there is no translation at all: the address is one of our interfaces'. */
  readonly isOwnAddress: boolean;
  /** Where sequential, the next mapping's port is guessed from this. */
  readonly lastObserved: Address;
  /** On how many observers' word this stands: addresses, and computers. */
  readonly observers: { readonly addresses: number; readonly hosts: number };
}

/** Observations are of one moment if they are not further apart: mappings outlive it everywhere. */
const MOMENT_MS = 5000;
/**
 * Two ports in a row so close together are no chance (1 in 1,600 for two random ones) even where
 * other programs behind the same router open a few mappings meanwhile.
 */
const MAX_SEQUENTIAL_GAP = 20;

/**
 * Says what the NAT before one socket does, from what several observers saw of that socket. An
 * observer's newest word counts, and none that is 5 s older than the newest of all: a NAT whose
 * address changed, or that forgot the mapping, is judged by what it did since.
 *
 * @param own the addresses of our interfaces with the socket's port.
 * @returns undefined where the observers do not suffice: two are needed, and three are better.
 */
export function classifyNat(
  observations: readonly Observation[],
  own: readonly Address[],
): NatClassification | undefined {
  const moment = ofOneMoment(observations);
  const newest = moment.at(-1);
  if (newest === undefined) return undefined;
  const independent = endpointIndependent(moment);
  const { mapped: lastObserved } = independent ?? newest;
  // All of them: one that lies, or whose answer somebody forged, shall not make us think so.
  const isOwnAddress = moment.every(({ mapped }) =>
    own.some((address) => sameAddress(address, mapped)),
  );
  const hosts = new Set(moment.map(({ server }) => server.host)).size;
  const common = {
    portPreserving: own.some(({ port }) => moment.every(({ mapped }) => mapped.port === port)),
    isOwnAddress,
    lastObserved,
    observers: { addresses: moment.length, hosts },
  };
  if (isOwnAddress || independent !== undefined) {
    const dependence = isOwnAddress || hosts > 1 ? 'endpoint-independent' : undefined;
    return { mapping: 'endpoint-independent', dependence, step: 0, ...common };
  }
  if (moment.length < 2) return undefined;
  const dependence = dependenceOf(moment);
  const step = stepOf(moment);
  if (step === undefined) return { mapping: 'random', dependence, step: 0, ...common };
  return { mapping: 'sequential', dependence, step, ...common };
}

/** The newest word of each observer, as far as it is of the last moment; oldest first. */
function ofOneMoment(observations: readonly Observation[]): Observation[] {
  const ordered = [...observations].sort((a, b) => a.at - b.at);
  const newestAt = ordered.at(-1)?.at ?? 0;
  const byServer = new Map<string, Observation>();
  for (const observation of ordered) {
    const key = formatAddress(observation.server);
    if (newestAt - observation.at > MOMENT_MS) continue;
    byServer.delete(key);
    byServer.set(key, observation);
  }
  return [...byServer.values()];
}

/**
 * The newest word of those that agree, where the port is the same towards everybody: two computers
 * saw the same, or, where only one was asked, all its ports did. Others may have seen another: one
 * lies, or the mapping was renewed in between. That two see the same port of a symmetric NAT happens
 * once in 64,000 times.
 */
function endpointIndependent(moment: readonly Observation[]): Observation | undefined {
  const hostsOf = new Map<number, Set<string>>();
  for (const { mapped, server } of moment) {
    const hosts = hostsOf.get(mapped.port) ?? new Set();
    hostsOf.set(mapped.port, hosts.add(server.host));
  }
  const hosts = new Set(moment.map(({ server }) => server.host));
  if (hosts.size === 1) {
    return moment.length > 1 && hostsOf.size === 1 ? moment.at(-1) : undefined;
  }
  return moment.findLast(({ mapped }) => (hostsOf.get(mapped.port)?.size ?? 0) > 1);
}

/** Address-dependent only if one computer, asked at two ports, saw the same (RFC 4787 §4.1). */
function dependenceOf(moment: readonly Observation[]): Dependence | undefined {
  const portsOf = new Map<string, number[]>();
  for (const { server, mapped } of moment) {
    portsOf.set(server.host, [...(portsOf.get(server.host) ?? []), mapped.port]);
  }
  const askedTwice = [...portsOf.values()].filter(({ length }) => length > 1);
  if (askedTwice.length === 0) return undefined;
  const isSame = askedTwice.every((ports) => new Set(ports).size === 1);
  return isSame ? 'address-dependent' : 'address-and-port-dependent';
}

/** The step from one mapping's port to the next; undefined: there is none to be seen. */
function stepOf(moment: readonly Observation[]): number | undefined {
  // A NAT with several public addresses counts for each alone.
  const byAddress = new Map<string, number[]>();
  for (const { mapped } of moment) {
    byAddress.set(mapped.host, [...(byAddress.get(mapped.host) ?? []), mapped.port]);
  }
  const [ports = []] = [...byAddress.values()]
    .map((all) => [...new Set(all)])
    .sort((a, b) => b.length - a.length);
  if (ports.length < 2) return undefined;
  // Answers overtake each other, so only most of the differences between neighbours tell the way.
  const sorted = [...ports].sort((a, b) => a - b);
  const gaps = differences(sorted);
  if (gaps.some((gap) => gap > MAX_SEQUENTIAL_GAP)) return undefined;
  const ups = differences(ports).filter((difference) => difference > 0).length;
  const sign = 2 * ups >= ports.length - 1 ? 1 : -1;
  return sign * gaps.reduce(greatestCommonDivisor);
}

function differences(numbers: readonly number[]): number[] {
  return numbers.slice(1).map((number, index) => number - (numbers[index] ?? number));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
