import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PREFIX = 'nat';

/** What is missing for networks of one's own here; undefined where nothing is. */
export async function missing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'Linux';
  if (process.getuid?.() !== 0) return 'root (network namespaces are made)';
  const needed = { ip: ['netns', 'list'], nft: ['--version'], cc: ['--version'] };
  for (const [command, args] of Object.entries(needed)) {
    try {
      await run(command, args);
    } catch (error) {
      return `the ${command} command (${error instanceof Error ? error.message : String(error)})`;
    }
  }
  return undefined;
}

/** Network namespaces under a prefix of this process's own. Nothing is touched outside of them. */
export class Namespaces {
  readonly #prefix = `${PREFIX}${process.pid}-`;

  /** The name of the namespace of this computer, whether it exists or not. */
  nameOf(computer: string): string {
    return this.#prefix + computer;
  }

  /** What a command line begins with that is to run on this computer. */
  on(computer: string): readonly [command: string, ...args: string[]] {
    return ['ip', 'netns', 'exec', this.nameOf(computer)];
  }

  /** @throws Error with what the shell said if a command of the script fails. */
  async script(commands: readonly string[]): Promise<void> {
    await shell(['sh', '-e'], commands.join('\n'));
  }

  /** The same, inside one computer. */
  async inside(computer: string, commands: readonly string[]): Promise<void> {
    await shell([...this.on(computer), 'sh', '-e'], commands.join('\n'));
  }

  /** Ends what still runs on these computers, and takes them away. */
  async remove(...computers: readonly string[]): Promise<void> {
    const names = new Set(computers.map((computer) => this.nameOf(computer)));
    await removeNamespaces((name) => names.has(name));
  }

  async removeAll(): Promise<void> {
    await removeNamespaces((name) => name.startsWith(this.#prefix));
  }
}

/** Takes away the namespaces of runs that were killed before they could. */
export async function removeAbandoned(): Promise<void> {
  await removeNamespaces((name) => {
    const maker = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    return maker !== undefined && !isAlive(Number(maker));
  });
}

async function removeNamespaces(wanted: (name: string) => boolean): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'list']);
  const names = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
  await Promise.all(
    names.filter(wanted).map(async (name) => {
      const pids = (await run('ip', ['netns', 'pids', name])).stdout.split('\n');
      for (const pid of pids.filter((line) => line !== '').map(Number)) {
        if (pid !== process.pid) kill(pid);
      }
      await run('ip', ['netns', 'del', name]).catch(() => undefined);
    }),
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

async function shell(command: readonly string[], input: string): Promise<void> {
  const [first = '', ...rest] = command;
  const child = spawn(first, rest, { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stdin.on('error', () => undefined);
  child.stdin.end(`${input}\n`);
  const code = await new Promise((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  if (code !== 0) throw new Error(`${said.trim()}, of:\n${input}`);
}
