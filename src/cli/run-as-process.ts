import process from 'node:process';
import type { Environment, Io } from './program.ts';

/** Runs a command as this process: its arguments, its environment, its streams, its exit code. */
export async function runAsProcess(
  main: (argv: readonly string[], env: Environment, io: Io) => Promise<number>,
): Promise<never> {
  // Whoever reads our output may go away (`… | head`); that alone must not look like a crash.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  const code = await main(process.argv.slice(2), process.env, process);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(code);
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => resolve());
  });
}
