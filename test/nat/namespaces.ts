import { must, run } from '../support/command.ts';
import { inside, ownPrefix, removeNamespaces } from '../support/namespaces.ts';

/** Begins the names of the laboratory's namespaces. */
export const LABORATORY = 'nat';

/** Network namespaces under a prefix of this process's own. Nothing is touched outside of them. */
export class Namespaces {
  readonly #prefix = ownPrefix(LABORATORY);

  /** The name of the namespace of this computer, whether it exists or not. */
  nameOf(computer: string): string {
    return this.#prefix + computer;
  }

  /** What a command line begins with that is to run on this computer. */
  on(computer: string): readonly [command: string, ...args: string[]] {
    return inside(this.nameOf(computer));
  }

  /**
   * What the script prints.
   * @throws Error with what the shell said if a command of it fails.
   */
  script(commands: readonly string[]): Promise<string> {
    return shell(['sh', '-e'], commands.join('\n'));
  }

  /** The same, inside one computer. */
  inside(computer: string, commands: readonly string[]): Promise<string> {
    return shell([...this.on(computer), 'sh', '-e'], commands.join('\n'));
  }

  /** What a command says inside one computer. @throws Error with what it said if it fails. */
  read(computer: string, command: string): Promise<string> {
    const [first, ...rest] = this.on(computer);
    return must(first, [...rest, 'sh', '-c', command]);
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

async function shell([first = '', ...rest]: readonly string[], input: string): Promise<string> {
  const { code, stdout, stderr } = await run(first, rest, { input: `${input}\n` });
  if (code !== 0) throw new Error(`${stderr.trim()}, of:\n${input}`);
  return stdout;
}
