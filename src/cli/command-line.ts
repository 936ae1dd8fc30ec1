import { Command as Parser, CommanderError, Option } from 'commander';
import { ChattyError } from '../base/errors.ts';
import { type AnySetting, environmentName, optionName, type Schema } from '../config/setting.ts';

/** What a command line said. */
export type Parsed =
  | {
      readonly kind: 'run';
      /** Raw texts by key; a switch is a boolean. Only what was really given. */
      readonly options: Record<string, readonly string[] | boolean>;
      readonly positionals: readonly string[];
      readonly printConfig: boolean;
    }
  /** `--help` or `--version`: nothing else is to be done. */
  | { readonly kind: 'shown'; readonly text: string };

/** What of a command its command line needs. */
export interface CommandShape {
  /** As typed: `chatty-local pki`. */
  readonly name: string;
  readonly summary: string;
  readonly schema: Schema;
  /** Like `<NAME> <FRIEND>`; `[NAME]` may be left out. */
  readonly positionals?: string;
  /** Lines for the end of `--help`: examples, subcommands. */
  readonly notes: readonly string[];
}

const HELP_WIDTH = 100;

/**
 * Reads a command line.
 * @throws ChattyError CHATTY_USAGE for unknown options and missing or excess arguments.
 */
export function parseCommandLine(
  shape: CommandShape,
  argv: readonly string[],
  version: string,
): Parsed {
  let shown = '';
  const parser = parserFor(shape, version, (text) => {
    shown += text;
  });
  try {
    parser.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'shown', text: shown };
    const what = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new ChattyError('CHATTY_USAGE', what, {
      hint: `See ${shape.name} --help.`,
      cause: error,
    });
  }
  const given = Object.entries(parser.opts<Record<string, string[] | boolean>>()).filter(
    ([key]) => parser.getOptionValueSource(key) === 'cli',
  );
  const { printConfig, ...options } = Object.fromEntries(given);
  return { kind: 'run', options, positionals: parser.args, printConfig: printConfig === true };
}

/**
 * Which of `names` the command line begins with, options aside.
 * @param shape has the options of the whole program, so that their values are not taken for it.
 * @returns the name and the arguments without it; undefined where there is none, or only after `--`.
 */
export function findSubcommand(
  shape: CommandShape,
  argv: readonly string[],
  names: ReadonlySet<string>,
): { name: string; rest: string[] } | undefined {
  const end = argv.indexOf('--');
  const before = end === -1 ? argv : argv.slice(0, end);
  for (let count = 1; count <= before.length; count += 1) {
    const operand = firstOperand(shape, before.slice(0, count));
    if (operand === undefined) continue;
    const rest = [...argv.slice(0, count - 1), ...argv.slice(count)];
    return names.has(operand) ? { name: operand, rest } : undefined;
  }
  return undefined;
}

function firstOperand(shape: CommandShape, argv: readonly string[]): string | undefined {
  const parser = parserFor(shape, '', () => undefined);
  try {
    return parser.parseOptions([...argv]).operands[0];
  } catch (error) {
    // `--version`, or an option whose value comes next.
    if (error instanceof CommanderError) return undefined;
    throw error;
  }
}

function parserFor(shape: CommandShape, version: string, write: (text: string) => void): Parser {
  const parser = new Parser(shape.name)
    .description(shape.summary)
    .exitOverride()
    .configureOutput({
      writeOut: write,
      // What is wrong is said once, by whoever catches the error.
      writeErr: () => undefined,
      getOutHelpWidth: () => HELP_WIDTH,
    })
    .allowExcessArguments(false)
    .helpOption('--help', 'show this')
    .version(`${shape.name.split(' ')[0] ?? ''} ${version}`, '--version', 'show the version')
    .addHelpText('after', ['', ...shape.notes].join('\n'));
  if (shape.positionals !== undefined) parser.arguments(shape.positionals);
  for (const [key, setting] of Object.entries(shape.schema)) {
    parser.addOption(optionFor(key, setting));
  }
  return parser.option('--print-config', 'show the settings in force, as JSON, and leave');
}

function optionFor(key: string, setting: AnySetting): Option {
  const { format, doc } = setting;
  const name = optionName(key);
  const suffix = `(${[environmentName(key), defaultOf(setting)].filter(Boolean).join('; ')})`;
  if (format.placeholder === undefined) {
    const on = setting.default === true;
    return new Option(on ? `--no-${name}` : `--${name}`, `${doc} ${suffix}`);
  }
  const alias = setting.alias === undefined ? '' : `--${setting.alias}, `;
  return new Option(`${alias}--${name} <${format.placeholder}>`, `${doc} ${suffix}`).argParser(
    (text: string, before: string[] | undefined) => [...(before ?? []), text],
  );
}

function defaultOf(setting: AnySetting): string {
  if (setting.required) return 'required';
  if (setting.defaultDoc !== undefined) return `default: ${setting.defaultDoc}`;
  const { format } = setting;
  const values = setting.kind === 'list' ? setting.default : [setting.default];
  const shown = values.filter((value) => value !== undefined).map((value) => format.show(value));
  // Of a switch, naming it is the opposite of its default.
  if (shown.length === 0 || format.placeholder === undefined) return '';
  return `default: ${shown.join(', ')}`;
}
