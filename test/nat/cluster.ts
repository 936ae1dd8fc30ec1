import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock as clock } from '../../src/base/clock.ts';
import { writeClusterPki } from '../../src/rpc/cluster-pki.ts';
import { Program } from '../chaos/program.ts';

const BALANCER_PORT = 50050;
const SERVER_PORT = 4433;
/** Where strict networks let UDP through. */
const STRICT_PORT = 443;
const CLUSTER_PORT = 50051;
const READY_MS = 60_000;
const POLL_MS = 50;
const LEAVE_MS = 3_000;

interface Places {
  readonly balancers: readonly string[];
  readonly servers: readonly string[];
  /** What a command line begins with that is to run on this computer. */
  readonly on: (computer: string) => readonly [string, ...string[]];
  readonly addressesOf: (computer: string) => readonly [v4: string, v6: string];
  /** More of what the servers are started with. */
  readonly serverArgs?: readonly string[];
}

/** The real daemons, each on a public computer of its own. */
export class Cluster {
  readonly #places: Places;
  readonly #programs: Program[] = [];
  #directory: string | undefined;

  constructor(places: Places) {
    this.#places = places;
  }

  /** Where the people's keys are kept as well. */
  get directory(): string {
    if (this.#directory === undefined) throw new Error('the cluster has not been started');
    return this.#directory;
  }

  get caFile(): string {
    return join(this.directory, 'tls', 'ca.pem');
  }

  /** The balancers' addresses for peers. */
  get loadBalancers(): string[] {
    return this.#places.balancers.map(
      (each) => `${this.#places.addressesOf(each)[0]}:${BALANCER_PORT}`,
    );
  }

  /** Waits until all of them serve. @throws Error if one does not within a minute. */
  async start(): Promise<void> {
    this.#directory = await mkdtemp(join(tmpdir(), 'chatty-nat-'));
    await writeClusterPki(join(this.#directory, 'tls'));
    const { balancers, servers, addressesOf, serverArgs = [] } = this.#places;
    await Promise.all([
      ...balancers.map((each) =>
        this.#launch(each, 'loadbalancer', [
          ...['--listen', `${addressesOf(each)[0]}:${BALANCER_PORT}`],
        ]),
      ),
      ...servers.map((each) => {
        const [v4, v6] = addressesOf(each);
        const listen = [SERVER_PORT, STRICT_PORT].flatMap((port) => [
          ...['--listen', `${v4}:${port}`, '--listen', `[${v6}]:${port}`],
        ]);
        const known = balancers.flatMap((balancer) => [
          ...['--loadbalancer', `${addressesOf(balancer)[0]}:${CLUSTER_PORT}`],
        ]);
        return this.#launch(each, 'rendezvous', [...listen, ...known, ...serverArgs]);
      }),
    ]);
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#programs.map(async (program) => {
        program.ending = true;
        program.signal('SIGTERM');
        const timer = clock.setTimer(LEAVE_MS, () => program.signal('SIGKILL'));
        await program.ended;
        timer.cancel();
      }),
    );
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }

  async #launch(
    computer: string,
    role: 'loadbalancer' | 'rendezvous',
    args: readonly string[],
  ): Promise<void> {
    const state = { ready: false, over: false };
    const program = new Program(
      this.#places.on(computer),
      `chatty-${role}`,
      [
        ...['--cluster-listen', `${this.#places.addressesOf(computer)[0]}:${CLUSTER_PORT}`],
        ...['--operations-listen', 'off', '--log-level', 'warn'],
        ...['--tls', join(this.directory, 'tls'), ...args],
      ],
      ({ event }) => (state.ready ||= event === 'ready'),
    );
    this.#programs.push(program);
    void program.ended.then(() => (state.over = true));
    const giveUpAt = clock.now() + READY_MS;
    while (!state.ready) {
      if (state.over || clock.now() > giveUpAt) {
        throw new Error(`${computer} is not ready: ${program.stderr}`);
      }
      await clock.sleep(POLL_MS);
    }
  }
}
