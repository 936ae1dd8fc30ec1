import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';

export type Outcome = { code: number; stdout: string; stderr: string };

/** Runs a program to its end, whatever that is; `input` goes to its standard input. */
export async function run(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { input?: string } = {},
): Promise<Outcome> {
  const { input = '', ...rest } = options;
  const child = spawn(command, args, { ...rest, stdio: ['pipe', 'pipe', 'pipe'] });
  const [out, err] = [[] as Buffer[], [] as Buffer[]];
  child.stdout.on('data', (part: Buffer) => out.push(part));
  child.stderr.on('data', (part: Buffer) => err.push(part));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  const text = (parts: readonly Buffer[]): string => Buffer.concat(parts).toString('utf8');
  return { code: code ?? -1, stdout: text(out), stderr: text(err) };
}

/** Runs a program that must succeed; its standard output. */
export async function must(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { input?: string } = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code === 0) return stdout;
  const said = (stderr.trim() === '' ? stdout : stderr).trim().split('\n').slice(-25).join('\n');
  throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${said}`);
}
