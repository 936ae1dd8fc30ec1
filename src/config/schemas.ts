import { DefaultPort } from '../base/default-ports.ts';
import {
  balancer,
  clusterBalancer,
  duration,
  fingerprint,
  flag,
  hostPort,
  integer,
  oneOf,
  orWord,
  path,
  size,
} from './format.ts';
import { list, optional, required, requiredList, withDefault } from './setting.ts';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What every program takes. */
function common(level: LogLevel) {
  return {
    config: optional(path('FILE'), 'read settings from a JSON file'),
    logLevel: withDefault(oneOf(LOG_LEVELS), level, 'what goes to the log'),
    logFile: optional(path('FILE'), 'where the log is appended', { defaultDoc: 'stderr' }),
  };
}

const everywhere = (port: number) => [{ host: '0.0.0.0', port }];
const tls = required(
  path('DIR'),
  'directory with ca.pem and this role’s certificate and key (chatty-local pki DIR makes one)',
);

/** What every daemon takes. */
const daemon = {
  tls,
  operationsListen: withDefault(
    orWord(hostPort, 'off'),
    { host: '127.0.0.1', port: DefaultPort.operations },
    'where /metrics, /healthz and /readyz are asked for; without a password, so keep it local',
  ),
  ...common('info'),
};

export const loadBalancerSchema = {
  listen: list(hostPort, everywhere(DefaultPort.balancerPeers), 'where peers ask; repeatable'),
  clusterListen: list(
    hostPort,
    everywhere(DefaultPort.cluster),
    'where servers register; repeatable',
  ),
  advertise: list(
    hostPort,
    [],
    'its address for peers, as other balancers pass it on; repeatable',
    {
      defaultDoc: 'the addresses listened on',
    },
  ),
  ...daemon,
};

/** For those who look at a cluster. */
export const statusSchema = {
  cluster: requiredList(
    clusterBalancer,
    'cluster address of a load balancer, or dns:///NAME:PORT; repeatable',
  ),
  tls,
  json: withDefault(flag, false, 'one JSON object instead of words'),
  ...common('warn'),
};

export const rendezvousSchema = {
  listen: list(
    hostPort,
    everywhere(DefaultPort.serverPeers),
    'where peers connect, UDP; repeatable',
  ),
  clusterListen: list(
    hostPort,
    everywhere(DefaultPort.cluster),
    'where load balancers and other servers connect; repeatable',
  ),
  advertise: list(hostPort, [], 'its address as peers are told; repeatable', {
    defaultDoc: 'the addresses listened on',
  }),
  clusterAdvertise: list(
    hostPort,
    [],
    'its address as load balancers and other servers are told; repeatable',
    { defaultDoc: 'the addresses listened on, or the one it calls from' },
  ),
  loadbalancer: requiredList(
    clusterBalancer,
    'cluster address of a load balancer, or dns:///NAME:PORT; repeatable',
    { alias: 'lb' },
  ),
  processes: withDefault(
    orWord(integer(1, 256), 'auto'),
    1,
    'how many servers to run, each on its own core: worker i listens on every port + i; auto: one a core',
  ),
  maxMemory: withDefault(
    size,
    4 * 2 ** 30,
    'a process that holds more is ended, and started anew where there are several',
  ),
  maxPeers: withDefault(integer(1, 1_000_000), 50_000, 'peers registered here at once'),
  peersPerSource: withDefault(
    integer(1, 1_000_000),
    4_000,
    'the same from one IPv4 address or IPv6 /64: a large shared NAT',
  ),
  registrationsPerMinute: withDefault(
    integer(1, 10_000_000),
    12_000,
    'registrations a minute from one such source: all its peers may have to come back at once',
  ),
  namesPerKey: withDefault(
    integer(1, 1_000_000),
    64,
    'names one key may wait under: a program needs one for each of its people',
  ),
  maxRecords: withDefault(
    integer(1, 100_000_000),
    1_000_000,
    'records of the table of all servers’ peers, two a peer; 1.8 KB each',
  ),
  relay: withDefault(
    flag,
    true,
    'pass on nothing for peers whose networks cannot reach each other; what is passed on is encrypted',
  ),
  relayPairBytesPerSecond: withDefault(
    size,
    2 ** 20,
    'what is passed on a second for one pair, both ways: enough for talk and a file now and then',
  ),
  relayPairBytes: withDefault(
    size,
    2 ** 30,
    'what is passed on in all for one pair, until it has rested for 5 minutes',
  ),
  relayPairTime: withDefault(
    duration,
    4 * 3_600_000,
    'how long it is for one pair, until it has rested for 5 minutes',
  ),
  relayBytesPerSecond: withDefault(
    size,
    64 * 2 ** 20,
    'what is passed on a second in all: half of what a network of 1 Gbit/s carries',
  ),
  relayPairs: withDefault(
    integer(1, 1_000_000),
    20_000,
    'pairs that may have something passed on; 2 KB each',
  ),
  ...daemon,
};

export const peerSchema = {
  loadbalancer: list(balancer, [], 'a load balancer, with the pin of its cluster; repeatable', {
    alias: 'lb',
    defaultDoc: 'those known from before',
  }),
  ca: optional(path('FILE'), 'the cluster’s ca.pem: only balancers it certifies are trusted'),
  strict: withDefault(flag, false, 'refuse balancers known by neither --ca, pin nor earlier use'),
  friendKey: optional(fingerprint, 'the friend’s key: nobody else is talked to'),
  state: optional(path('DIR'), 'where keys and known friends are kept', {
    defaultDoc: 'the data folder of this user',
  }),
  timeout: optional(duration, 'give up when not connected by then', { defaultDoc: 'never' }),
  json: withDefault(flag, false, 'JSON lines instead of a chat screen'),
  relay: withDefault(
    flag,
    true,
    'never talk through a server, not even encrypted and until a direct path is found',
  ),
  portMapping: withDefault(
    flag,
    true,
    'never ask the router to lead a port of its own here (PCP, NAT-PMP, UPnP)',
  ),
  ...common('warn'),
};

/** For those who want to know what their network does. */
export const doctorSchema = {
  loadbalancer: peerSchema.loadbalancer,
  ca: peerSchema.ca,
  strict: peerSchema.strict,
  state: peerSchema.state,
  json: withDefault(flag, false, 'one JSON object instead of words'),
  portMapping: peerSchema.portMapping,
  ...common('warn'),
};

export const localSchema = {
  loadbalancers: withDefault(integer(1, 16), 2, 'how many load balancers'),
  servers: withDefault(integer(1, 32), 3, 'how many rendezvous servers'),
  json: withDefault(flag, false, 'JSON lines instead of words'),
  ...common('warn'),
};

/** For those that only do one thing and leave. */
export const plainSchema = common('warn');
