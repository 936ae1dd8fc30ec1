import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Command } from '../../../src/cli/child-program.ts';

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly input?: string | Uint8Array;
  /** Added to PATH and HOME, which is all it otherwise has. */
  readonly env?: NodeJS.ProcessEnv;
}

const GIVE_UP_MS = 40_000;

/** Runs a command from its arguments and input to its end. */
export async function runCommand(
  command: Command,
  args: readonly string[],
  { input = '', env = {} }: RunOptions = {},
): Promise<Outcome> {
  const script = fileURLToPath(new URL(`../../../bin/${command}`, import.meta.url));
  const child = spawn(process.execPath, [script, ...args], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    timeout: GIVE_UP_MS,
    killSignal: 'SIGKILL',
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}
