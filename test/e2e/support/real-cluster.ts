import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHostPort } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { ChildProgram, type Ending } from '../../../src/cli/child-program.ts';
import { fetchServers } from '../../../src/rpc/balancer-client.ts';
import { writeClusterPki } from '../../../src/rpc/cluster-pki.ts';
import { addressesFromWire } from '../../../src/rpc/wire-address.ts';
import { formatAddress } from '../../../src/base/address.ts';
import { within } from './deadline.ts';

const READY_MS = 60_000;
const POLL_MS = 50;

/** A load balancer or a rendezvous server as the process of its command. */
export interface Daemon {
  readonly role: 'loadbalancer' | 'rendezvous';
  readonly program: ChildProgram;
  /** Its address for peers, and for the cluster. */
  readonly peers: string;
  readonly cluster: string;
}

/** Where a daemon listens, by default on free ports, and of which version it is (default: this one). */
type Place = Partial<Pick<Daemon, 'peers' | 'cluster'>> & { readonly commands?: URL | undefined };

/** The daemons of one test file as real processes, with keys of their own; ended with it. */
export class RealCluster implements AsyncDisposable {
  /** A directory that goes with the cluster. */
  readonly directory: string;
  readonly #host: string;
  readonly #daemons: Daemon[] = [];
  /** Every process started, ready or not. */
  readonly #programs: ChildProgram[] = [];

  private constructor(directory: string, host: string) {
    this.directory = directory;
    this.#host = host;
  }

  /** Makes the keys; starts nothing. @param host where every daemon listens. */
  static async empty(host = '127.0.0.1'): Promise<RealCluster> {
    const cluster = new RealCluster(await mkdtemp(join(tmpdir(), 'chatty-e2e-')), host);
    await writeClusterPki(cluster.tls);
    return cluster;
  }

  /** Starts so many daemons and waits until every balancer lists every server. */
  static async start(balancers: number, servers: number, host?: string): Promise<RealCluster> {
    const cluster = await RealCluster.empty(host);
    try {
      await Promise.all(Array.from({ length: balancers }, () => cluster.balancer()));
      await Promise.all(Array.from({ length: servers }, () => cluster.server()));
      await Promise.all(cluster.balancers.map((each) => cluster.listed(each, cluster.servers)));
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get tls(): string {
    return join(this.directory, 'tls');
  }

  get caFile(): string {
    return join(this.tls, 'ca.pem');
  }

  /** Where the people of this test keep their keys. */
  get state(): string {
    return join(this.directory, 'state');
  }

  get balancers(): readonly Daemon[] {
    return this.#daemons.filter(({ role }) => role === 'loadbalancer');
  }

  get servers(): readonly Daemon[] {
    return this.#daemons.filter(({ role }) => role === 'rendezvous');
  }

  /** The balancers' addresses for peers. */
  get loadBalancers(): readonly string[] {
    return this.balancers.map(({ peers }) => peers);
  }

  /** Starts a load balancer, by default on free ports, and waits until it is ready. */
  balancer(at: Place = {}): Promise<Daemon> {
    return this.#start('loadbalancer', at, []);
  }

  /** Starts a server of these balancers (default: all there are) and waits until it is listed. */
  server(at: Place = {}, balancers = this.balancers): Promise<Daemon> {
    return this.#start('rendezvous', at, clustersOf(balancers));
  }

  /** Starts a daemon without waiting for it. */
  launch(role: Daemon['role'], at: Place = {}, args: readonly string[] = []): ChildProgram {
    const { peers = `${this.#host}:0`, cluster = `${this.#host}:0` } = at;
    const all = [
      ...['--listen', peers, '--cluster-listen', cluster, '--tls', this.tls],
      ...['--operations-listen', 'off'],
      ...args,
    ];
    const program = new ChildProgram(`chatty-${role}`, all, process.env, at.commands);
    this.#programs.push(program);
    return program;
  }

  /** Waits until a daemon launched is ready, and counts it in. */
  async adopt(role: Daemon['role'], program: ChildProgram): Promise<Daemon> {
    const ready = await within(READY_MS, `${role} ready`, program.event('ready'), () => [
      program.stderr,
    ]);
    const [peers, cluster] = [String(ready['peers']), String(ready['cluster'])];
    const daemon = { role, program, peers, cluster };
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Ends a daemon without a word, and forgets it. */
  async kill(daemon: Daemon): Promise<Ending> {
    this.#daemons.splice(this.#daemons.indexOf(daemon), 1);
    daemon.program.signal('SIGKILL');
    return daemon.program.ended;
  }

  /** Ends a daemon as an operator does, and forgets it. */
  async stop(daemon: Daemon): Promise<Ending> {
    this.#daemons.splice(this.#daemons.indexOf(daemon), 1);
    daemon.program.signal('SIGTERM');
    return daemon.program.ended;
  }

  /** The servers a balancer hands out in one answer, its choice first. */
  async ask(balancer: Daemon): Promise<readonly string[]> {
    const address = parseHostPort(balancer.peers);
    if (address === undefined) throw new RangeError(`${balancer.peers} is no address`);
    const { response } = await fetchServers({
      address,
      trust: { kind: 'ca', pem: await readFile(this.caFile, 'utf8') },
      deadlineMs: 5_000,
      clock: systemClock,
    });
    return response.servers.flatMap(({ addresses }) =>
      addressesFromWire(addresses, 1).map(formatAddress),
    );
  }

  /** Waits until a balancer hands out all of these servers and, if `only`, no other one. */
  async listed(balancer: Daemon, servers: readonly Daemon[], only = false): Promise<void> {
    const wanted = servers.map(({ peers }) => peers).sort();
    const giveUpAt = systemClock.now() + READY_MS;
    for (;;) {
      const seen = new Set<string>();
      for (let turn = 0; turn < servers.length; turn++) {
        for (const address of await this.ask(balancer).catch(() => [])) seen.add(address);
      }
      if (wanted.every((each) => seen.has(each)) && (!only || seen.size === wanted.length)) return;
      if (systemClock.now() > giveUpAt) {
        throw new Error(`${balancer.peers} lists ${[...seen].join()}, not ${wanted.join()}`);
      }
      await systemClock.sleep(POLL_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs) program.signal('SIGKILL');
    await Promise.all(this.#programs.map((program) => program.ended));
    await rm(this.directory, { recursive: true, force: true });
  }

  #start(role: Daemon['role'], at: Place, args: readonly string[]): Promise<Daemon> {
    return this.adopt(role, this.launch(role, at, args));
  }
}

/** `--loadbalancer` for each of these. */
export function clustersOf(balancers: readonly Daemon[]): string[] {
  return balancers.flatMap(({ cluster }) => ['--loadbalancer', cluster]);
}
