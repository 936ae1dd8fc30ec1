import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SOURCES = fileURLToPath(new URL('wire/', import.meta.url));

/** RFC 4787 §4.1 and §5: on what of the other end a mapping, or leave to come in, depends. */
export type Dependence = 'endpoint-independent' | 'address' | 'address-and-port';
/** RFC 4787 §4.2: which outer port a new mapping gets. */
export type PortChoice = 'preserved' | 'sequential' | 'random';

/** How a router of the wire translates UDP. */
export interface NatRules {
  readonly mapping: Dependence;
  readonly filtering: Dependence;
  readonly ports: PortChoice;
  readonly hairpin: boolean;
  /** So long after the last packet from inside a mapping is forgotten. */
  readonly lifetimeMs: number;
}

const DEPENDENCES = ['endpoint-independent', 'address', 'address-and-port'] as const;
const PORT_CHOICES = ['preserved', 'sequential', 'random'] as const;

/** What passed on the line of a node, towards the core and from it, and what was lost on it. */
interface Count {
  readonly up: number;
  readonly down: number;
  readonly lost: number;
}

/**
 * The program between the laboratory's namespaces (`wire/`): it delays and loses packets, and is
 * the routers that Linux cannot be. It ends with this process.
 */
export class Wire {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #directory: string;
  readonly #awaited: ((answer: string) => void)[] = [];

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, directory: string) {
    this.#child = child;
    this.#directory = directory;
    createInterface({ input: child.stdout }).on('line', (line) => this.#awaited.shift()?.(line));
    child.once('close', () => {
      for (const answered of this.#awaited.splice(0)) answered('error the wire has ended');
    });
  }

  /** Compiles and starts it. @throws Error if there is no C compiler. */
  static async start(seed: number): Promise<Wire> {
    const directory = await mkdtemp(join(tmpdir(), 'chatty-nat-'));
    const program = join(directory, 'wire');
    const sources = (await readdir(SOURCES)).filter((file) => file.endsWith('.c'));
    await promisify(execFile)('cc', ['-O2', '-o', program, ...sources], { cwd: SOURCES });
    const wire = new Wire(spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] }), directory);
    await wire.#tell(`seed ${seed}`);
    return wire;
  }

  /** A TUN device in a namespace. @param parent `core`, or a router of the wire. */
  async link(
    name: string,
    parent: string,
    delayMs: number,
    namespace: string,
    device: string,
  ): Promise<void> {
    await this.#tell(`link ${name} ${parent} ${delayMs * 1000} ${namespace} ${device}`);
  }

  /** A router that translates addresses. */
  async router(
    name: string,
    parent: string,
    delayMs: number,
    address: string,
    rules: NatRules,
  ): Promise<void> {
    await this.#tell(`box ${name} ${parent} ${delayMs * 1000} ${address}`);
    await this.#tell(
      [
        ...['rules', name, DEPENDENCES.indexOf(rules.mapping)],
        ...[DEPENDENCES.indexOf(rules.filtering), PORT_CHOICES.indexOf(rules.ports)],
        ...[rules.hairpin ? 1 : 0, rules.lifetimeMs],
      ].join(' '),
    );
  }

  /** Those below a router reach each other through its outer address only, if at all. */
  async isolate(router: string): Promise<void> {
    await this.#tell(`isolate ${router}`);
  }

  /** Packets to these addresses go there, and only from these are any taken. */
  async at(name: string, address: string, bits: number): Promise<void> {
    await this.#tell(`at ${name} ${address} ${bits}`);
  }

  /** Its address is another one from now on. */
  async move(name: string, address: string): Promise<void> {
    await this.#tell(`move ${name} ${address}`);
  }

  /** So many of a thousand packets are lost, in each direction. */
  async lose(name: string, permille: number): Promise<void> {
    await this.#tell(`loss ${name} ${permille}`);
  }

  async cut(name: string, cut: boolean): Promise<void> {
    await this.#tell(`cut ${name} ${cut ? 1 : 0}`);
  }

  /** A router forgets its mappings; new ones have other ports. */
  async rebind(router: string): Promise<void> {
    await this.#tell(`rebind ${router}`);
  }

  async count(name: string): Promise<Count> {
    const [up = 0, down = 0, lost = 0] = (await this.#tell(`count ${name}`)).split(' ').map(Number);
    return { up, down, lost };
  }

  /** How many mappings a router has. */
  async mappings(router: string): Promise<number> {
    return Number(await this.#tell(`mappings ${router}`));
  }

  async remove(name: string): Promise<void> {
    await this.#tell(`remove ${name}`);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await ended;
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #tell(command: string): Promise<string> {
    const answer = await new Promise<string>((resolve) => {
      this.#awaited.push(resolve);
      this.#child.stdin.write(`${command}\n`);
    });
    if (!answer.startsWith('ok ')) throw new Error(`${command}: ${answer}`);
    return answer.slice('ok '.length);
  }
}
