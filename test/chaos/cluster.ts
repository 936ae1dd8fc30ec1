import { systemClock as clock } from '../../src/base/clock.ts';
import { BALANCERS, type Fault, SERVERS } from './faults.ts';
import type { Network } from './network.ts';
import { Program } from './program.ts';

const PEER_PORTS = { loadbalancer: 50050, rendezvous: 4433 } as const;
const CLUSTER_PORT = 50051;
const OPERATIONS_PORT = 9464;
const POLL_MS = 50;
/** A drain takes 10 s at most; the rest is for a busy computer. */
const LEAVE_WITHIN_MS = 20_000;

interface Daemon {
  readonly program: Program;
  ready: boolean;
}

/** The daemons of a run, each a process of its command on a computer of its own. */
export class Cluster {
  /** What ought not to have happened: ends that nobody asked for, slow or unclean leaving. */
  readonly mishaps: string[] = [];
  readonly #network: Network;
  readonly #tls: string;
  readonly #daemons = new Map<string, Daemon>();

  constructor(network: Network, tls: string) {
    this.#network = network;
    this.#tls = tls;
  }

  /** The balancers' addresses for peers, and for the cluster. */
  get loadBalancers(): string[] {
    return BALANCERS.map((host) => `${this.#network.addressOf(host)}:${PEER_PORTS.loadbalancer}`);
  }

  clusterAddressOf(host: string): string {
    return `${this.#network.addressOf(host)}:${CLUSTER_PORT}`;
  }

  operationsOf(host: string): string {
    return `http://${this.#network.addressOf(host)}:${OPERATIONS_PORT}`;
  }

  async start(): Promise<void> {
    for (const host of [...BALANCERS, ...SERVERS]) this.launch(host);
    await this.allReady();
  }

  launch(host: string): void {
    const ip = this.#network.addressOf(host);
    const isBalancer = host.startsWith('lb');
    const role = isBalancer ? 'loadbalancer' : 'rendezvous';
    const balancers = BALANCERS.flatMap((lb) => ['--loadbalancer', this.clusterAddressOf(lb)]);
    const program = new Program(
      this.#network.on(host),
      `chatty-${role}`,
      [
        ...['--listen', `${ip}:${PEER_PORTS[role]}`, '--cluster-listen', `${ip}:${CLUSTER_PORT}`],
        ...['--operations-listen', `${ip}:${OPERATIONS_PORT}`, '--tls', this.#tls],
        ...['--log-level', 'warn', ...(isBalancer ? [] : balancers)],
      ],
      ({ event }) => (daemon.ready ||= event === 'ready'),
    );
    const daemon: Daemon = { program, ready: false };
    this.#daemons.set(host, daemon);
    void program.ended.then(({ code, signal }) => {
      if (program.ending) return;
      this.mishaps.push(`${host} ended by itself: ${code ?? signal ?? '?'}: ${program.stderr}`);
    });
  }

  /** Waits until every daemon serves. @throws Error if one of them does not within a minute. */
  async allReady(): Promise<void> {
    const giveUpAt = clock.now() + 60_000;
    for (const [host, daemon] of this.#daemons) {
      while (!daemon.ready) {
        if (clock.now() > giveUpAt) {
          throw new Error(`${host} is not ready: ${daemon.program.stderr}`);
        }
        await clock.sleep(POLL_MS);
      }
    }
  }

  async begin(fault: Fault): Promise<void> {
    if (fault.kind === 'cut') return this.#network.cut(fault.one, fault.other);
    const program = this.#program(fault.target);
    if (fault.kind === 'pause') program.signal('SIGSTOP');
    else {
      program.ending = true;
      program.signal(fault.kind === 'kill' ? 'SIGKILL' : 'SIGTERM');
    }
  }

  async end(fault: Fault): Promise<void> {
    if (fault.kind === 'cut') return this.#network.heal(fault.one, fault.other);
    const program = this.#program(fault.target);
    if (fault.kind === 'pause') {
      program.signal('SIGCONT');
      return;
    }
    if (fault.kind === 'terminate') await this.#left(fault.target, program);
    else await program.ended;
    this.launch(fault.target);
  }

  /** Ends all of them as an operator does. */
  async stop(): Promise<void> {
    await Promise.all(
      [...this.#daemons].map(async ([host, { program }]) => {
        program.ending = true;
        program.signal('SIGTERM');
        await this.#left(host, program);
      }),
    );
  }

  async #left(host: string, program: Program): Promise<void> {
    const timer = clock.setTimer(LEAVE_WITHIN_MS, () => program.signal('SIGKILL'));
    const { code, signal } = await program.ended;
    timer.cancel();
    if (code !== 0) this.mishaps.push(`${host} left with ${code ?? signal ?? '?'}, not 0`);
  }

  #program(host: string): Program {
    const daemon = this.#daemons.get(host);
    if (daemon === undefined) throw new RangeError(`there is no ${host}`);
    return daemon.program;
  }
}
