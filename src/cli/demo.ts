import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import { ChildProgram } from './child-program.ts';
import { LocalCluster } from './local-cluster.ts';

/** Each says its first line when connected, and the next one after each line of the other. */
const LINES = {
  alice: [
    'Hello Bob, are you there?',
    'No server is between us: this goes from me to you.',
    'Bye!',
  ],
  bob: [
    'Hello Alice, I hear you.',
    'Straight over QUIC, through whatever router.',
    'Until next time!',
  ],
} as const;
/** A peer that has not found the other by then gives up. */
const PEER_TIMEOUT = '20s';
/** On how many servers a peer waits at once. */
const REGISTRATIONS = 2;
const STOP_PATIENCE_MS = 2_000;

type Name = keyof typeof LINES;

interface DemoOptions {
  readonly clock: Clock;
  readonly loadBalancers: number;
  readonly rendezvousServers: number;
  /** Ends the demo. */
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
}

/** What one peer has shown to have happened. */
interface Tally {
  readonly delivered: Set<number>;
  readonly received: string[];
  registeredOn: string[];
  exitCode: number | null;
}

/**
 * The whole path, shown step by step with real processes: a cluster, two peers on different servers,
 * a chat both ways, and the end.
 * @returns whether every message arrived and was acknowledged, and both peers ended well.
 */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { clock, print } = options;
  const startedAt = clock.now();
  const say = (text: string): void => {
    const ms = Math.round(clock.now() - startedAt);
    print(`${String(ms).padStart(6)} ms  ${text}`);
  };
  const step = (number: number, title: string): void => print(`\n${number}. ${title}`);

  step(1, 'A cluster starts: every program is a process of its own, on this computer only.');
  await using cluster = await LocalCluster.start({
    loadBalancers: options.loadBalancers,
    rendezvousServers: options.rendezvousServers,
    clock,
    signal: options.signal,
    onDeath: (member, how) => say(`the ${title(member.role)} ${member.peers} ended ${how}`),
  });
  for (const { role, pid, peers } of cluster.members) {
    say(`${title(role)} ${peers} (process ${pid})`);
  }
  say('every load balancer lists every rendezvous server');

  const state = await mkdtemp(join(tmpdir(), 'chatty-demo-'));
  const peers: ChildProgram[] = [];
  options.signal.addEventListener('abort', () => {
    for (const peer of peers) peer.signal('SIGTERM');
  });
  const meet = (name: Name, friend: Name, loadBalancer: string): ChildProgram => {
    const peer = new ChildProgram('chatty', [
      ...[name, friend, '--lb', loadBalancer, '--json'],
      // What is shown is the direct way: nobody shall see words that a server passed on.
      ...['--state', state, '--timeout', PEER_TIMEOUT, '--no-relay'],
    ]);
    peers.push(peer);
    return peer;
  };
  try {
    const first = cluster.loadBalancers[0] ?? '';
    const last = cluster.loadBalancers.at(-1) ?? first;

    step(2, `Alice knows one load balancer, ${first}, and wants to talk to Bob.`);
    // Only then does she ask the balancers no more, and the next choice of theirs is Bob's.
    const places = Math.min(REGISTRATIONS, options.rendezvousServers);
    const alice = new DemoPeer('alice', meet('alice', 'bob', first), places, say);
    await alice.settled;

    await turnPast(cluster, last, alice.tally.registeredOn[0]);
    step(
      3,
      `Bob knows ${last === first ? 'the same one' : `another one, ${last}`}, and wants Alice.`,
    );
    const bob = new DemoPeer('bob', meet('bob', 'alice', last), 1, say);
    await bob.settled;
    step(4, 'The servers introduce them, and each makes a hole in its own network for the other.');
    await Promise.all([alice.connected, bob.connected]);

    step(5, 'They talk. No server carries any of this.');
    alice.speak();
    bob.speak();
    await Promise.all([alice.ended, bob.ended]);

    step(6, 'What happened');
    const good = [alice, bob].map((peer) => summarise(peer, peer === alice ? bob : alice, print));
    return good.every(Boolean);
  } finally {
    await Promise.all(peers.map((peer) => peer.stop(clock, STOP_PATIENCE_MS)));
    await rm(state, { recursive: true, force: true });
  }
}

/** One peer of the demo: follows its events, tells them, and says its lines. */
class DemoPeer {
  readonly name: Name;
  readonly tally: Tally = { delivered: new Set(), received: [], registeredOn: [], exitCode: null };
  /** It waits on as many servers as were asked for. */
  readonly settled: Promise<void>;
  readonly connected: Promise<void>;
  readonly ended: Promise<void>;
  readonly #program: ChildProgram;
  readonly #say: (text: string) => void;
  #said = 0;
  #mayTalk = false;
  readonly #places: number;
  #onSettled!: () => void;
  #onConnected!: () => void;
  #fail!: (error: Error) => void;

  /** @param places on how many servers it waits when it has settled. */
  constructor(name: Name, program: ChildProgram, places: number, say: (text: string) => void) {
    this.name = name;
    this.#places = places;
    this.#program = program;
    this.#say = (text) => say(`${title(name)} ${text}`);
    this.settled = new Promise((resolve) => (this.#onSettled = resolve));
    this.connected = new Promise((resolve, reject) => {
      this.#onConnected = resolve;
      this.#fail = reject;
    });
    // Whoever awaits `ended` alone must not be told twice.
    this.connected.catch(() => undefined);
    this.ended = this.#follow();
  }

  /** Says the first line; what the other says brings the next. */
  speak(): void {
    this.#mayTalk = true;
    this.#sayNext();
  }

  async #follow(): Promise<void> {
    for await (const event of this.#program.events()) this.#tell(event);
    const { code } = await this.#program.ended;
    this.tally.exitCode = code;
    this.#say(`leaves (exit code ${code ?? 'none'})`);
    const error = new ChattyError('CHATTY_NO_FRIEND', `${this.name}: ${this.#program.stderr}`);
    this.#fail(error);
    this.#onSettled();
  }

  #tell(event: Record<string, unknown>): void {
    const field = (name: string): string => String(event[name]);
    switch (event['event']) {
      case 'registered':
        this.tally.registeredOn.push(field('server'));
        this.#say(
          `waits on rendezvous server ${field('server')}, which sees them at ${field('observed')}`,
        );
        if (this.tally.registeredOn.length === this.#places) this.#onSettled();
        return;
      case 'matched':
        this.#say(
          `is told by the servers where ${title(field('friend'))} is: both named each other`,
        );
        return;
      case 'connected':
        this.#say(
          `is connected: ${field('local')} to ${field('remote')}, ${field('path')} (${field('kind')}), ` +
            `${field('sinceMatchMs')} ms after the match`,
        );
        this.#onConnected();
        return;
      case 'message':
        this.tally.received.push(field('text'));
        this.#say(`reads "${field('text')}"`);
        this.#sayNext();
        return;
      case 'delivered':
        this.tally.delivered.add(Number(event['id']));
        return;
      case 'error':
        this.#say(`reports ${field('code')}: ${field('message')}`);
        return;
      default:
    }
  }

  #sayNext(): void {
    if (!this.#mayTalk) return;
    const lines = LINES[this.name];
    const line = lines[this.#said];
    if (line === undefined) return;
    this.#said += 1;
    this.#program.writeLine(line);
    if (this.#said === lines.length) this.#program.endInput();
  }
}

/**
 * Has the balancer's round robin go on until it has just chosen the server that is `taken`: it then
 * comes last in the answer to the next one who asks, who so is sure to begin on another one.
 */
async function turnPast(
  cluster: LocalCluster,
  loadBalancer: string,
  taken: string | undefined,
): Promise<void> {
  for (let turns = cluster.rendezvousServers.length; turns > 0; turns--) {
    const [choice] = await cluster.ask(loadBalancer);
    if (choice === taken) return;
  }
}

function summarise(peer: DemoPeer, other: DemoPeer, print: (line: string) => void): boolean {
  const lines = LINES[peer.name];
  const arrived = lines.filter((line, index) => other.tally.received[index] === line).length;
  const good =
    arrived === lines.length &&
    other.tally.received.length === lines.length &&
    peer.tally.delivered.size === lines.length &&
    peer.tally.exitCode === 0;
  print(
    `   ${title(peer.name)}: first server ${peer.tally.registeredOn[0] ?? 'none'}; ` +
      `${arrived} of ${lines.length} messages arrived, ` +
      `${peer.tally.delivered.size} acknowledged; exit code ${peer.tally.exitCode ?? 'none'}` +
      (good ? '' : '  <- this is wrong'),
  );
  return good;
}

function title(word: string): string {
  if (word === 'loadbalancer') return 'load balancer';
  if (word === 'rendezvous') return 'rendezvous server';
  return word.charAt(0).toUpperCase() + word.slice(1);
}
