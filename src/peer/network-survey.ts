import { createConnection } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Address, familyOf, scopeOf } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { ChattyError } from '../base/errors.ts';
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
import { Discovery, type DiscoveryOptions } from './discovery.ts';
import { createPeerIdentity } from './identity-store.ts';
import { ServerProbes } from './server-probes.ts';

/** Of all servers' addresses, so many are asked. */
const MAX_ASKED = 12;
/** A TCP connection takes one round trip; the longest there are is under a second. */
const CONNECT_MS = 3_000;
/** From one socket of this computer to the router and back to another. */
const HAIRPIN_AT_MS = [0, 60, 150] as const;
const HAIRPIN_MS = 400;

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
}

export interface NetworkSurveyOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly discovery: Omit<DiscoveryOptions, 'clock'>;
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
  const endpoint = await openSockets(clock, random);
  try {
    return { failures: discovery.failures, ...(await survey(endpoint, told, options)) };
  } finally {
    await endpoint.close();
  }
}

async function survey(
  endpoint: QuicEndpoint,
  told: readonly Address[],
  { clock, random, signal }: NetworkSurveyOptions,
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
  const startedAt = clock.now();
  const observations: Observation[] = [];
  const answers = await Promise.all(
    asked.map(async (address): Promise<Answer> => {
      const mapped = (await probes.ask(address))?.mapped;
      const at = clock.now();
      if (mapped !== undefined) observations.push({ server: address, mapped, at });
      return { address, mapped, ms: at - startedAt };
    }),
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
  };
}

/** Both families where the computer has both. */
async function openSockets(clock: Clock, random: Random): Promise<QuicEndpoint> {
  const shared = { identity: await createPeerIdentity(), clock, random, alpn: [] };
  const v4 = { host: '0.0.0.0', port: 0 };
  try {
    return await QuicEndpoint.open({ ...shared, listen: [v4, { host: '::', port: 0 }] });
  } catch {
    return QuicEndpoint.open({ ...shared, listen: [v4] });
  }
}

/**
 * Sends from a second socket to the outer address of the first: first uninvited, then after the first
 * has sent to the outer address of the second.
 */
async function tryHairpin(
  endpoint: QuicEndpoint,
  probes: ServerProbes,
  nat: NatClassification,
  answers: readonly Answer[],
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<NetworkSurvey['hairpin']> {
  if (nat.isOwnAddress || nat.mapping !== 'endpoint-independent') return undefined;
  const server = answers.find(({ mapped }) => mapped?.host === nat.lastObserved.host)?.address;
  const second = await endpoint.openSocket(4);
  const outer = server === undefined ? undefined : (await probes.ask(server, second))?.mapped;
  if (outer === undefined) return undefined;
  const arrives = async (): Promise<boolean> => {
    const id = random.bytes(12);
    const before = endpoint.onStun;
    let arrived = false;
    endpoint.onStun = (datagram) => {
      const message = parseStun(datagram);
      arrived ||= message !== undefined && Buffer.compare(message.transactionId, id) === 0;
    };
    for (const atMs of HAIRPIN_AT_MS) {
      clock.setTimer(atMs, () => endpoint.send(encodeServerProbe(id), nat.lastObserved, second));
    }
    await clock.sleep(HAIRPIN_MS);
    endpoint.onStun = before;
    return arrived;
  };
  const uninvited = await arrives();
  if (uninvited) return { works: true, letsStrangersIn: true };
  endpoint.send(encodeServerProbe(random.bytes(12)), outer);
  return { works: await arrives(), letsStrangersIn: false };
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
