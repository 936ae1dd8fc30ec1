import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { ChattyError, ExitCode, reasonOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { stripControl } from '../base/name.ts';
import { readConfiguration, unknownVariables } from '../config/configuration.ts';
import { readSettingsFile } from '../config/file.ts';
import {
  loadBalancerSchema,
  localSchema,
  type LogLevel,
  peerSchema,
  rendezvousSchema,
  statusSchema,
} from '../config/schemas.ts';
import type { Schema, ValuesOf } from '../config/setting.ts';
import { type CommandShape, findSubcommand, parseCommandLine } from './command-line.ts';

/** What a program has around it; `process` is one. */
export interface Io {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  on(signal: 'SIGINT' | 'SIGTERM', listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM', listener: (signal: NodeJS.Signals) => void): unknown;
  exit(code: number): unknown;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command that runs is given beside its settings. */
export interface Context {
  readonly io: Io;
  readonly env: Environment;
  readonly logger: Logger;
  /**
   * Aborted by the first SIGTERM or SIGINT, with a ChattyError CHATTY_INTERRUPTED that names it; the
   * second ends the process at once.
   */
  readonly signal: AbortSignal;
}

/** Settings every command has; `plainSchema` holds nothing else. */
type CommonValues = { readonly logLevel: LogLevel; readonly logFile: string | undefined };

/** A command, or a subcommand. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly schema: Schema;
  readonly positionals?: string;
  /** Command lines for `--help`. */
  readonly examples: readonly string[];
  readonly subcommands?: readonly Command[];
  /** @returns the exit code. Large libraries are best imported in here: `--help` comes first. */
  readonly run: (
    values: never,
    positionals: readonly string[],
    context: Context,
  ) => Promise<number>;
}

/** Ties a command's settings to what its `run` is given. */
export function defineCommand<S extends Schema>(
  command: Omit<Command, 'schema' | 'run'> & {
    readonly schema: S;
    readonly run: (
      values: ValuesOf<S>,
      positionals: readonly string[],
      context: Context,
    ) => Promise<number>;
  },
): Command {
  return command;
}

const ALL_SCHEMAS = [
  ...[loadBalancerSchema, rendezvousSchema, statusSchema],
  ...[peerSchema, localSchema],
];
/** No exit code of the contract fits a bug of ours. */
const BUG_EXIT_CODE = 1;

/**
 * Runs a program from its command line to its exit code. Whatever goes wrong is said on stderr: what,
 * why, and what to try.
 */
export async function runProgram(
  program: Command,
  argv: readonly string[],
  env: Environment,
  io: Io,
): Promise<number> {
  try {
    const { command, name, rest } = choose(program, argv);
    const shape = shapeOf(command, name, program);
    const parsed = parseCommandLine(shape, rest, packageVersion());
    if (parsed.kind === 'shown') {
      io.stdout.write(parsed.text);
      return ExitCode.done;
    }
    for (const variable of unknownVariables(schemasOf(program), env)) {
      io.stderr.write(`${program.name}: warning: there is no setting ${stripControl(variable)}\n`);
    }
    const configuration = await readConfiguration(command.schema, {
      args: parsed.options,
      env,
      readFile: readSettingsFile,
    });
    if (parsed.printConfig) {
      io.stdout.write(`${JSON.stringify(configuration.printable, null, 2)}\n`);
      return ExitCode.done;
    }
    requireAll(configuration.missing, name);
    const values = configuration.values as unknown as CommonValues;
    return await withSignals(io, async (signal) => {
      const { openLog } = await import('./log.ts');
      const logger = openLog(values.logLevel, values.logFile, io.stderr);
      const context = { io, env, logger, signal };
      return command.run(configuration.values as never, parsed.positionals, context);
    });
  } catch (error) {
    return printError(program.name, withUsageHint(error, program.name), io.stderr);
  }
}

/** Of all programs, as one environment may be meant for several. */
function schemasOf(program: Command): Schema[] {
  const own = [program, ...(program.subcommands ?? [])].map(({ schema }) => schema);
  return [...ALL_SCHEMAS, ...own];
}

function withUsageHint(error: unknown, name: string): unknown {
  const bare =
    error instanceof ChattyError && error.code === 'CHATTY_USAGE' && error.hint === undefined;
  if (!bare) return error;
  return new ChattyError(error.code, error.message, { hint: `See ${name} --help.`, cause: error });
}

/** Says on stderr what went wrong. @returns the exit code. */
function printError(program: string, error: unknown, stderr: Writable): number {
  if (error instanceof ChattyError) {
    const hint = error.hint === undefined ? '' : `  ${stripLines(error.hint)}\n`;
    stderr.write(`${program}: ${stripLines(error.message)}\n${hint}`);
    return error.exitCode;
  }
  const details = error instanceof Error ? (error.stack ?? error.message) : reasonOf(error);
  stderr.write(`${program}: this is a bug in Chatty; please report it with these lines:\n`);
  stderr.write(`${stripLines(details)}\n`);
  return BUG_EXIT_CODE;
}

/** Errors quote what others sent; line breaks in them are ours. */
function stripLines(text: string): string {
  return text.split('\n').map(stripControl).join('\n');
}

function choose(
  program: Command,
  argv: readonly string[],
): { command: Command; name: string; rest: readonly string[] } {
  const { subcommands = [] } = program;
  const own = { command: program, name: program.name, rest: argv };
  if (subcommands.length === 0) return own;
  const schema: Schema = Object.fromEntries(
    [program, ...subcommands].flatMap((each) => Object.entries(each.schema)),
  );
  const whole = shapeOf({ ...program, schema }, program.name, program);
  const names = new Set(['help', ...subcommands.map(({ name }) => name)]);
  const found = findSubcommand(whole, argv, names);
  if (found === undefined) return own;
  if (found.name === 'help') return choose(program, [...found.rest, '--help']);
  const command = subcommands.find(({ name }) => name === found.name) ?? program;
  return { command, name: `${program.name} ${found.name}`, rest: found.rest };
}

function shapeOf(command: Command, name: string, program: Command): CommandShape {
  const notes = ['Examples:', ...command.examples.map((example) => `  ${example}`), ''];
  if (command === program && program.subcommands !== undefined) {
    const lines = program.subcommands.map(
      (each) => `  ${`${each.name} ${each.positionals ?? ''}`.padEnd(30)} ${each.summary}`,
    );
    notes.push('Further commands (each has its own --help):', ...lines, '');
  }
  notes.push(
    'An argument counts more than its environment variable, and that more than the --config file.',
  );
  const { summary, schema, positionals } = command;
  return { name, summary, schema, notes, ...(positionals === undefined ? {} : { positionals }) };
}

function requireAll(missing: readonly string[], name: string): void {
  if (missing.length === 0) return;
  const [first = ''] = missing;
  const variable = `CHATTY_${first.slice(2).replaceAll('-', '_').toUpperCase()}`;
  const verb = missing.length === 1 ? 'is' : 'are';
  throw new ChattyError('CHATTY_USAGE', `${missing.join(' and ')} ${verb} missing`, {
    hint: `Give it as ${first}, as ${variable} in the environment, or in a --config file; see ${name} --help.`,
  });
}

/** Runs with a signal that SIGTERM and SIGINT abort; the second of them ends the process. */
async function withSignals(io: Io, run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const interrupted = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (interrupted.signal.aborted) io.exit(ExitCode.interrupted);
    interrupted.abort(new ChattyError('CHATTY_INTERRUPTED', `ended by ${name}`));
  };
  // Whoever reads our output may go away; then nobody is left to tell.
  const onGone = (): void => {
    interrupted.abort(new ChattyError('CHATTY_INTERRUPTED', 'nobody reads the output any more'));
  };
  io.on('SIGTERM', onSignal);
  io.on('SIGINT', onSignal);
  io.stdout.on('error', onGone);
  try {
    return await run(interrupted.signal);
  } finally {
    io.off('SIGTERM', onSignal);
    io.off('SIGINT', onSignal);
    io.stdout.off('error', onGone);
  }
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version?: unknown }).version);
}
