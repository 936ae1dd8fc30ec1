import { must, run } from './command.ts';
import { isAlive } from './process.ts';

/** What is missing for networks of one's own here, which take these commands; undefined where nothing is. */
export async function missing(...commands: readonly string[]): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'Linux';
  if (process.getuid?.() !== 0) return 'root (network namespaces are made)';
  for (const command of commands) {
    const { code } = await run('sh', ['-c', `command -v ${command}`]);
    if (code !== 0) return `the ${command} command`;
  }
  return undefined;
}

/** Begins the names of all network namespaces of this process, and of no other one. */
export function ownPrefix(program: string): string {
  return `${program}${process.pid}-`;
}

/** What a command line begins with that is to run in this network namespace. */
export function inside(name: string): readonly [command: string, ...args: string[]] {
  return ['ip', 'netns', 'exec', name];
}

/** @throws Error with what the command said if it fails. */
export function ip(...args: readonly string[]): Promise<string> {
  return must('ip', args);
}

export async function makeNamespace(name: string): Promise<void> {
  await ip('netns', 'add', name);
  await ip('-n', name, 'link', 'set', 'lo', 'up');
}

/** Ends what still runs in these namespaces, and takes them away. */
export async function removeNamespaces(wanted: (name: string) => boolean): Promise<void> {
  const names = (await ip('netns', 'list')).split('\n').map((line) => line.split(' ')[0] ?? '');
  await Promise.all(
    names.filter(wanted).map(async (name) => {
      const { stdout } = await run('ip', ['netns', 'pids', name]);
      for (const pid of stdout.split('\n').flatMap((line) => (line === '' ? [] : Number(line)))) {
        if (pid !== process.pid) kill(pid);
      }
      await run('ip', ['netns', 'del', name]);
    }),
  );
}

/** Takes away the namespaces of a program's runs that were killed before they could. */
export async function removeAbandoned(program: string): Promise<void> {
  await removeNamespaces((name) => {
    const maker = new RegExp(`^${program}(\\d+)-`).exec(name)?.[1];
    return maker !== undefined && !isAlive(Number(maker));
  });
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
