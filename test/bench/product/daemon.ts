import { Socket } from 'node:dgram';
import type { Address } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { systemRandom } from '../../../src/base/random.ts';
import type { RendezvousServer } from '../../../src/rendezvous/rendezvous-server.ts';
import type { ClusterTls } from '../../../src/rpc/tls-files.ts';
import { cpuMs, rssBytes, serveTasks } from '../worker.ts';

/**
 * The process of one daemon. It runs the very classes that the commands run; what is added is the
 * lifting of the caps on one source, since here all peers come from 127.0.0.1, and on what is relayed,
 * and the probe. Like a
 * command, it loads no more than its own daemon needs.
 */
const LOOPBACK: Address = { host: '127.0.0.1', port: 0 };
const MANY = 100_000;
const UNLIMITED_RELAY = {
  ...{ pairBytesPerSecond: Infinity, pairBytes: Infinity, pairTimeMs: Infinity },
  ...{ bytesPerSecond: Infinity, pairs: MANY },
};
const lagsMs: number[] = [];
let running: RendezvousServer | undefined;
const common = {
  listen: [LOOPBACK],
  clusterListen: [LOOPBACK],
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
};

export interface Started {
  readonly peers: Address;
  readonly cluster: Address;
}

const tasks = {
  loadbalancer: async (tls: ClusterTls): Promise<Started> => {
    const { LoadBalancer } = await import('../../../src/loadbalancer/load-balancer.ts');
    const balancer = await LoadBalancer.start({ ...common, tls });
    return started(balancer);
  },

  rendezvous: async (options: {
    tls: ClusterTls;
    loadBalancers: readonly string[];
  }): Promise<Started> => {
    const { RendezvousServer } = await import('../../../src/rendezvous/rendezvous-server.ts');
    const server = await RendezvousServer.start({
      ...common,
      ...options,
      observer: { introduced: () => undefined, heard: (afterMs) => lagsMs.push(afterMs) },
      settings: {
        namesPerKey: MANY,
        relay: UNLIMITED_RELAY,
        quic: {
          maxConnectionsPerPrefix: MANY,
          maxHandshakesPerPrefix: MANY,
          maxHandshakes: MANY,
        },
      },
    });
    await server.ready;
    running = server;
    return started(server);
  },

  /** Leaves as on SIGTERM. */
  drain: async () => {
    await running?.drain();
  },

  /** How long changes of other servers took to be heard here, since this was last asked. */
  lagsMs: (): readonly number[] => lagsMs.splice(0),

  /** How many peers are registered here. */
  waiting: (): number => running?.counts.registered ?? 0,

  rssBytes: () => rssBytes(),

  cpuMs: () => cpuMs(),

  /**
   * From now on, watches for the next datagram that comes from port `wisher` and makes one go to port
   * `waiting`; `watched` tells how long that took.
   */
  watch: (ports: { wisher: number; waiting: number }) => {
    installProbe();
    probe = { ...ports, receivedAt: undefined, sentAt: new Map() };
  },

  /** Milliseconds from the wish's datagram to the later of the two pushes having been sent. */
  watched: (): number | undefined => {
    if (probe?.receivedAt === undefined || probe.sentAt.size < 2) return undefined;
    return Math.max(...probe.sentAt.values()) - probe.receivedAt;
  },
};

export type DaemonTasks = typeof tasks;

let probe:
  | {
      readonly wisher: number;
      readonly waiting: number;
      receivedAt: number | undefined;
      readonly sentAt: Map<number, number>;
    }
  | undefined;
let probeInstalled = false;

/** Notes when the process takes in and hands out datagrams of the watched ports. */
function installProbe(): void {
  if (probeInstalled) return;
  probeInstalled = true;
  const { emit, send } = Socket.prototype as unknown as Record<
    'emit' | 'send',
    (...args: unknown[]) => unknown
  >;
  Object.assign(Socket.prototype, {
    emit(this: Socket, ...args: unknown[]): unknown {
      const [name, , from] = args as [string, unknown, { port: number } | undefined];
      if (name === 'message' && from?.port === probe?.wisher && probe?.sentAt.size === 0) {
        probe.receivedAt = performance.now();
      }
      return emit.apply(this, args);
    },
    send(this: Socket, ...args: unknown[]): unknown {
      const result = send.apply(this, args);
      const port = args[1] as number;
      if (probe?.receivedAt !== undefined && (port === probe.waiting || port === probe.wisher)) {
        if (!probe.sentAt.has(port)) probe.sentAt.set(port, performance.now());
      }
      return result;
    },
  });
}

function started(daemon: {
  readonly peerAddresses: readonly Address[];
  readonly clusterAddresses: readonly Address[];
}): Started {
  return {
    peers: daemon.peerAddresses[0] ?? LOOPBACK,
    cluster: daemon.clusterAddresses[0] ?? LOOPBACK,
  };
}

serveTasks(tasks);
