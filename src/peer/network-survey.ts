import { createConnection } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Address, familyOf, scopeOf } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { ChattyError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import {
  classifyNat,
  encodeServerProbe,
  gatherHostCandidates,
  type NatClassification,
  type Observation,
  parseStun,
} from '../path/index.ts';
import { QuicEndpoint } from '../quic/index.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import { openBothFamilies } from './both-families.ts';
import { findGateway } from './default-gateway.ts';
import { Discovery, type DiscoveryOptions } from './discovery.ts';
import { createPeerIdentity } from './identity-store.ts';
import { PortMapper } from './port-mapper.ts';
import type { RouterMapping } from './port-mapping.ts';
import { ServerProbes } from './server-probes.ts';

/** Of all servers' addresses, so many are asked. */
const MAX_ASKED = 12;
/** A TCP connection takes one round trip; the longest there are is under a second. */
const CONNECT_MS = 3_000;
/** From one socket of this computer to the router and back to another. */
const HAIRPIN_AT_MS = [0, 60, 150] as const;
const HAIRPIN_MS = 400;
/** As far as the first router beyond the one at home. */
const HOME_HOPS = 2;

/** How one address of a server answered. */
export interface Answer {
  readonly address: Address;
  /** Undefined: it did not. */
  readonly mapped: Address | undefined;
  readonly ms: number;
}

/** What was found out about the network of this computer. */
export interface NetworkSurvey {
  /** Why load balancers did not answer. */
  readonly failures: ReadonlyMap<string, ChattyError>;
  /** By UDP, each address of the servers that was asked. */
  readonly answers: readonly Answer[];
  /** Where no UDP came back: the addresses that take TCP. */
  readonly tcp: readonly Address[];
  /** IPv4; undefined: too few servers answered. */
  readonly nat: NatClassification | undefined;
  /**
   * Whether the router sends back what is for its own outer address (RFC 4787 §6), and whom it lets
   * in (§5), which is seen only by what it sends back; undefined: that was not, or could not be tried.
   */
  readonly hairpin: { readonly works: boolean; readonly letsStrangersIn: boolean } | undefined;
  /** Whether an interface has an IPv6 address that is not for local networks only. */
  readonly hasIpv6: boolean;
  /** What the router led here when it was asked to, for a moment. */
  readonly portMapping: RouterMapping | 'none' | 'not-tried';
}

export interface NetworkSurveyOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly discovery: Omit<DiscoveryOptions, 'clock'>;
  /** Whether the router may be asked for a port. */
  readonly portMapping: boolean;
  readonly signal: AbortSignal;
}

/** Asks the cluster's servers how this computer's network looks from outside. Takes some 2 s. */
export async function surveyNetwork(options: NetworkSurveyOptions): Promise<NetworkSurvey> {
  const { clock, random, signal } = options;
  const discovery = new Discovery({ ...options.discovery, clock });
  const told: Address[] = [];
  await discovery.ask((servers, stunAddresses) => {
    told.push(...servers.flatMap(({ addresses }) => addressesFromWire(addresses, MAX_ASKED)));
    told.push(...stunAddresses);
  }, signal);
  signal.throwIfAborted();
  const shared = { identity: await createPeerIdentity(), clock, random, alpn: [] };
  const endpoint = await openBothFamilies((listen) => QuicEndpoint.open({ ...shared, listen }));
  try {
    return { failures: discovery.failures, ...(await survey(endpoint, told, options)) };
  } finally {
    await endpoint.close();
  }
}

async function survey(
  endpoint: QuicEndpoint,
  told: readonly Address[],
  { clock, random, portMapping, signal }: NetworkSurveyOptions,
): Promise<Omit<NetworkSurvey, 'failures'>> {
  const probes = new ServerProbes({
    clock,
    random,
    send: (datagram, remote, local) => endpoint.send(datagram, remote, local),
  });
  const main = endpoint.addresses.find((address) => familyOf(address) === 4);
  endpoint.onStun = (datagram, remote, local) => {
    const message = parseStun(datagram);
    const isMain = endpoint.addresses.includes(local);
    if (message !== undefined) probes.receive(message, remote, isMain ? undefined : local);
  };
  const families = new Set(endpoint.addresses.map(familyOf));
  const usable = unique(told).filter((address) => families.has(familyOf(address)));
  const asked = usable.slice(0, MAX_ASKED);
  const isLocal = asked.every(({ host }) => scopeOf(host) === 'loopback');
  // Not for the socket that questions come from, of which the router shall do what it does to others.
  const { port } = await endpoint.openSocket(4);
  const mapping = portMapping && !isLocal ? tryPortMapping(port, clock, random) : undefined;
  const startedAt = clock.now();
  const answers = await Promise.all(
    asked.map(async (address): Promise<Answer> => {
      const mapped = (await probes.ask(address))?.mapped;
      return { address, mapped, ms: clock.now() - startedAt };
    }),
  );
  // Mappings are made in the order of the questions; answers overtake each other.
  const observations = answers.flatMap(({ address: server, mapped }, index): Observation[] =>
    mapped === undefined ? [] : [{ server, mapped, at: startedAt + index }],
  );
  signal.throwIfAborted();
  const own = gatherHostCandidates(networkInterfaces(), { 4: main?.port });
  const nat = classifyNat(
    observations.filter(({ server }) => familyOf(server) === 4),
    own.map(({ address }) => address),
  );
  const isSilent = observations.length === 0;
  const inner = gatherHostCandidates(networkInterfaces(), { 6: 1 });
  return {
    answers,
    tcp: isSilent ? await tcpReachable(asked, clock, signal) : [],
    nat,
    hairpin:
      nat === undefined
        ? undefined
        : await tryHairpin(endpoint, probes, nat, answers, { clock, random }),
    hasIpv6: inner.some(({ address }) => scopeOf(address.host) === 'public'),
    portMapping: (await mapping) ?? 'not-tried',
  };
}

/** Asks the router for a port, and gives it back. */
async function tryPortMapping(
  port: number,
  clock: Clock,
  random: Random,
): Promise<RouterMapping | 'none'> {
  let found: RouterMapping | undefined;
  await new Promise<void>((resolve) => {
    const mapper = new PortMapper({
      ...{ clock, random, logger: silentLogger },
      findGateway: () => findGateway(networkInterfaces()),
      mapped: (mapping) => (found = mapping),
      settled: () => void mapper.close().then(resolve),
    });
    mapper.begin(port);
  });
  return found ?? 'none';
}

/**
 * Sends from a second socket to the outer address of the first, after each has sent to the other's; and
 * where that arrives, to the outer address of a third one, which has sent to a server only. The very
 * first packets live too short to come back: Linux before a carrier's router would answer them itself,
 * and move the port.
 */
async function tryHairpin(
  endpoint: QuicEndpoint,
  probes: ServerProbes,
  nat: NatClassification,
  answers: readonly Answer[],
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<NetworkSurvey['hairpin']> {
  if (nat.isOwnAddress || nat.mapping !== 'endpoint-independent') return undefined;
  const first = nat.lastObserved;
  const server = answers.find(({ mapped }) => mapped?.host === first.host)?.address;
  if (server === undefined) return undefined;
  const [second, third] = [await endpoint.openSocket(4), await endpoint.openSocket(4)];
  const [toSecond, toThird] = await Promise.all(
    [second, third].map(async (local) => (await probes.ask(server, local))?.mapped),
  );
  if (toSecond === undefined || toThird === undefined) return undefined;
  const arrives = async (to: Address): Promise<boolean> => {
    const id = random.bytes(12);
    const before = endpoint.onStun;
    let arrived = false;
    endpoint.onStun = (datagram) => {
      const message = parseStun(datagram);
      arrived ||= message !== undefined && Buffer.compare(message.transactionId, id) === 0;
    };
    for (const atMs of HAIRPIN_AT_MS) {
      clock.setTimer(atMs, () => endpoint.send(encodeServerProbe(id), to, second));
    }
    await clock.sleep(HAIRPIN_MS);
    endpoint.onStun = before;
    return arrived;
  };
  const opening = encodeServerProbe(random.bytes(12));
  endpoint.send(opening, toSecond, undefined, HOME_HOPS);
  endpoint.send(opening, first, second, HOME_HOPS);
  endpoint.send(opening, toSecond);
  if (!(await arrives(first))) return { works: false, letsStrangersIn: false };
  return { works: true, letsStrangersIn: await arrives(toThird) };
}

/** Those of the addresses that take TCP under the number of their UDP port, where tunnels are. */
async function tcpReachable(
  addresses: readonly Address[],
  clock: Clock,
  signal: AbortSignal,
): Promise<Address[]> {
  const reached = await Promise.all(
    addresses.map((address) => isReachable(address, clock, signal)),
  );
  return addresses.filter((_, index) => reached[index]);
}

function isReachable({ host, port }: Address, clock: Clock, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const done = (reached: boolean): void => {
      timer.cancel();
      socket.destroy();
      resolve(reached);
    };
    const timer = clock.setTimer(CONNECT_MS, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    signal.addEventListener('abort', () => done(false), { once: true });
  });
}

function unique(addresses: readonly Address[]): Address[] {
  return [...new Map(addresses.map((each) => [`${each.host} ${each.port}`, each])).values()];
}
