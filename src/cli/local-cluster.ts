import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Address, formatAddress, parseHostPort } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import { fetchServers } from '../rpc/balancer-client.ts';
import { writeClusterPki } from '../rpc/cluster-pki.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';
import { ChildProgram } from './child-program.ts';

/** How long the cluster may take until every balancer lists every server. */
const READY_MS = 20_000;
const POLL_MS = 50;
/** Daemons that have not ended this long after SIGTERM are killed; all must be gone within 3 s. */
const STOP_PATIENCE_MS = 2_000;

export interface LocalClusterOptions {
  readonly loadBalancers: number;
  readonly rendezvousServers: number;
  readonly clock: Clock;
  /** Gives up starting. */
  readonly signal: AbortSignal;
  /** A daemon has ended by itself; the rest go on. */
  onDeath(member: ClusterMember, explanation: string): void;
}

export interface ClusterMember {
  readonly role: 'loadbalancer' | 'rendezvous';
  readonly pid: number;
  readonly peers: string;
  readonly cluster: string;
}

/** A whole cluster on loopback, each daemon a child process, with a CA made on the spot. */
export class LocalCluster implements AsyncDisposable {
  readonly #options: LocalClusterOptions;
  readonly #programs: ChildProgram[] = [];
  readonly #members: ClusterMember[] = [];
  #tlsDir = '';
  #caPem = '';
  #stopping = false;

  private constructor(options: LocalClusterOptions) {
    this.#options = options;
  }

  /** Starts it and waits until every balancer lists every server. @throws ChattyError */
  static async start(options: LocalClusterOptions): Promise<LocalCluster> {
    const cluster = new LocalCluster(options);
    const onAbort = (): void => void cluster.stop();
    options.signal.addEventListener('abort', onAbort, { once: true });
    try {
      await cluster.#start();
      options.signal.throwIfAborted();
      return cluster;
    } catch (error) {
      await cluster.stop();
      options.signal.throwIfAborted();
      throw error;
    } finally {
      options.signal.removeEventListener('abort', onAbort);
    }
  }

  get members(): readonly ClusterMember[] {
    return this.#members;
  }

  /** The balancers' addresses for peers. */
  get loadBalancers(): readonly string[] {
    return this.#addressesOf('loadbalancer');
  }

  /** The servers' addresses for peers. */
  get rendezvousServers(): readonly string[] {
    return this.#addressesOf('rendezvous');
  }

  /** Ends every daemon; resolves when all are gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const { clock } = this.#options;
    await Promise.all(this.#programs.map((program) => program.stop(clock, STOP_PATIENCE_MS)));
    if (this.#tlsDir !== '') await rm(this.#tlsDir, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** What a balancer (by its address for peers) answers now: the servers' addresses, its choice first. */
  async ask(loadBalancer: string): Promise<readonly string[]> {
    const address = parseHostPort(loadBalancer);
    if (address === undefined) throw new RangeError(`${loadBalancer} is no address`);
    const { response } = await fetchServers({
      address,
      trust: { kind: 'ca', pem: this.#caPem },
      deadlineMs: 2_000,
      clock: this.#options.clock,
    });
    return response.servers.map(({ addresses }) =>
      addressesFromWire(addresses, 1)
        .map((first: Address) => formatAddress(first))
        .join(),
    );
  }

  async #start(): Promise<void> {
    this.#tlsDir = await mkdtemp(join(tmpdir(), 'chatty-local-'));
    await writeClusterPki(join(this.#tlsDir, 'tls'));
    this.#caPem = await readFile(join(this.#tlsDir, 'tls', 'ca.pem'), 'utf8');
    const common = [
      ...['--listen', '127.0.0.1:0', '--cluster-listen', '127.0.0.1:0'],
      ...['--tls', join(this.#tlsDir, 'tls'), '--operations-listen', 'off'],
    ];
    await this.#startAll('loadbalancer', this.#options.loadBalancers, common);
    const balancers = this.#members.flatMap(({ cluster }) => ['--loadbalancer', cluster]);
    // Whatever the environment says: the process started is the one that holds the sockets.
    const args = [...common, ...balancers, '--processes', '1'];
    await this.#startAll('rendezvous', this.#options.rendezvousServers, args);
    await Promise.all(this.loadBalancers.map((address) => this.#untilComplete(address)));
  }

  async #startAll(
    role: ClusterMember['role'],
    count: number,
    args: readonly string[],
  ): Promise<void> {
    const started = Array.from({ length: count }, async () => {
      const program = new ChildProgram(`chatty-${role}`, args);
      this.#programs.push(program);
      const ready = await program.event('ready');
      const member: ClusterMember = {
        role,
        pid: program.pid,
        peers: String(ready['peers']),
        cluster: String(ready['cluster']),
      };
      this.#members.push(member);
      void program.ended.then(({ code, signal }) => {
        if (this.#stopping) return;
        const how = signal === null ? `with exit code ${code ?? 'none'}` : `by ${signal}`;
        this.#options.onDeath(
          member,
          `${how}${program.stderr === '' ? '' : `: ${program.stderr}`}`,
        );
      });
    });
    await Promise.all(started);
  }

  /** A balancer names up to three servers an answer, so the whole list takes several. */
  async #untilComplete(loadBalancer: string): Promise<void> {
    const { clock } = this.#options;
    const missing = new Set(this.rendezvousServers);
    const giveUpAt = clock.now() + READY_MS;
    for (;;) {
      // None yet is an answer too.
      const listed = await this.ask(loadBalancer).catch(() => []);
      for (const address of listed) missing.delete(address);
      if (missing.size === 0) return;
      if (clock.now() >= giveUpAt) {
        throw new ChattyError(
          'CHATTY_NO_SERVER',
          `the load balancer ${loadBalancer} did not list ${[...missing].join(', ')} in time`,
        );
      }
      await clock.sleep(POLL_MS, this.#options.signal);
    }
  }

  #addressesOf(role: ClusterMember['role']): readonly string[] {
    return this.#members.filter((member) => member.role === role).map(({ peers }) => peers);
  }
}
