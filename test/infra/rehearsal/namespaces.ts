import { must, run } from './command.ts';

const PREFIX = 'rehearse';

/** Begins the names of all namespaces of this rehearsal, and of no other one. */
export function ownPrefix(): string {
  return `${PREFIX}${process.pid}-`;
}

/** What a command line begins with that is to run in this network namespace, all else unchanged. */
export function inside(namespace: string): readonly [command: string, ...args: string[]] {
  return ['nsenter', `--net=/run/netns/${namespace}`];
}

export async function makeNamespace(name: string): Promise<void> {
  await ip('netns', 'add', name);
  await ip('-n', name, 'link', 'set', 'lo', 'up');
}

export async function ip(...args: string[]): Promise<string> {
  return must('ip', args);
}

/** Ends what runs in the namespaces whose names begin so, and takes them away. */
export async function removeNamespaces(prefix: string): Promise<void> {
  const names = await existing();
  for (const name of names.filter((one) => one.startsWith(prefix))) {
    const { stdout } = await run('ip', ['netns', 'pids', name]);
    for (const pid of stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)) {
      if (pid !== process.pid) kill(pid);
    }
    await run('ip', ['netns', 'del', name]);
  }
}

/** Takes away what rehearsals left that were killed before they could. */
export async function removeAbandoned(): Promise<void> {
  const makers = (await existing()).map((name) => new RegExp(`^(${PREFIX}(\\d+)-)`).exec(name));
  for (const [, prefix, pid] of makers.filter((match) => match !== null)) {
    if (prefix !== undefined && !isAlive(Number(pid))) await removeNamespaces(prefix);
  }
}

async function existing(): Promise<string[]> {
  const list = await ip('netns', 'list');
  return list.split('\n').map((line) => line.split(' ')[0] ?? '');
}

/** Whether this process is still there. */
export function isAlive(pid: number): boolean {
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
