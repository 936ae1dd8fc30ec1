import convict from 'convict';
import { ChattyError } from '../base/errors.ts';
import {
  type AnySetting,
  environmentName,
  optionName,
  type Schema,
  type ValuesOf,
} from './setting.ts';

/** What each source says, before anything is checked. */
export interface Sources {
  /** Raw texts of the arguments by key; a switch is a boolean. */
  readonly args: Readonly<Record<string, readonly string[] | boolean>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the JSON file that the setting `config` names, if any does. */
  readonly readFile: (name: string) => Promise<unknown>;
}

export interface Configuration<S extends Schema> {
  readonly values: ValuesOf<S>;
  /** The values as `--print-config` shows them: as text, secrets masked, absent ones null. */
  readonly printable: Readonly<Record<string, unknown>>;
  /** The options that have to be given and were not, like `--tls`. */
  readonly missing: readonly string[];
}

/** How a value is refused: by whom it was given decides the exit code (64 or 78). */
type Refuse = (where: string, what: string) => ChattyError;

/**
 * Merges defaults < file < environment < arguments.
 * @throws ChattyError CHATTY_USAGE for what is wrong in the arguments, which are checked first, or
 * CHATTY_CONFIG for file and environment; it names the key and what is allowed.
 */
export async function readConfiguration<S extends Schema>(
  schema: S,
  sources: Sources,
): Promise<Configuration<S>> {
  const args = readArguments(schema, sources.args);
  const env = readEnvironment(schema, sources.env);
  const name = args['config'] ?? env['config'];
  const file =
    typeof name === 'string'
      ? readFileContent(schema, { name, content: await sources.readFile(name) })
      : {};

  const merged = convict<Record<string, unknown>>(convictSchema(schema), { env: {}, args: [] });
  for (const source of [file, env, args]) {
    for (const [key, value] of Object.entries(source)) merged.set(key, value);
  }
  merged.validate({ allowed: 'strict' });
  const values = pick(schema, (key) => merged.get(key) ?? undefined);

  const missing = Object.entries(schema).filter(
    ([key, setting]) => setting.required && isAbsent(values[key]),
  );
  return {
    values: values as ValuesOf<S>,
    printable: printable(schema, values),
    missing: missing.map(([key]) => `--${optionName(key)}`),
  };
}

function convictSchema(schema: Schema): convict.Schema<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(schema).map(([key, setting]) => [
      key,
      {
        doc: setting.doc,
        // Values are read and checked source by source, where it is known whom to blame.
        format: '*',
        default: setting.default ?? null,
        sensitive: setting.secret ?? false,
      },
    ]),
  );
}

function readArguments(schema: Schema, args: Sources['args']): Record<string, unknown> {
  const refuse: Refuse = (where, what) => new ChattyError('CHATTY_USAGE', `${where} ${what}`);
  return pick(schema, (key, setting) => {
    const given = args[key];
    if (given === undefined || typeof given === 'boolean') return given;
    return readTexts(setting, given, `--${optionName(key)}`, refuse);
  });
}

function readEnvironment(schema: Schema, env: Sources['env']): Record<string, unknown> {
  return pick(schema, (key, setting) => {
    const name = environmentName(key);
    const text = env[name];
    // An empty variable is how a shell takes one back.
    if (text === undefined || text === '') return undefined;
    const texts = setting.kind === 'list' ? text.split(',').map((part) => part.trim()) : [text];
    return readTexts(setting, texts, `the environment variable ${name}`, configError);
  });
}

function readFileContent(
  schema: Schema,
  { name, content }: { name: string; content: unknown },
): Record<string, unknown> {
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw configError(`the file ${name}`, 'must hold one JSON object');
  }
  const given = content as Record<string, unknown>;
  const unknown = Object.keys(given).find((key) => !Object.hasOwn(schema, key) || key === 'config');
  if (unknown !== undefined) {
    const known = Object.keys(schema).filter((key) => key !== 'config');
    const where = `the key ${JSON.stringify(unknown)} in ${name}`;
    throw configError(where, `is unknown; there are ${known.join(', ')}`);
  }
  return pick(schema, (key, setting) => {
    const value = given[key];
    if (value === undefined || value === null) return undefined;
    const several = Array.isArray(value);
    const where = `the key "${key}" in ${name}`;
    const entries: unknown[] = several ? value : [value];
    if (several && setting.kind === 'single') {
      throw configError(where, `must be ${setting.format.allowed}, not a list`);
    }
    const texts = entries.map((entry) => {
      // Numbers and switches are written in JSON's own way too.
      if (['string', 'number', 'boolean'].includes(typeof entry)) return String(entry);
      throw configError(where, `must be ${setting.format.allowed}`);
    });
    return readTexts(setting, texts, where, configError);
  });
}

/** The values of the schema's keys, without those that are undefined. */
function pick(
  schema: Schema,
  valueOf: (key: string, setting: AnySetting) => unknown,
): Record<string, unknown> {
  const entries = Object.entries(schema).map(([key, setting]) => [key, valueOf(key, setting)]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as Record<
    string,
    unknown
  >;
}

function readTexts(
  setting: AnySetting,
  texts: readonly string[],
  where: string,
  refuse: Refuse,
): unknown {
  const values = texts.map((text) => {
    const value = setting.format.read(text);
    if (value !== undefined) return value;
    const given = setting.secret === true ? '' : `, not ${JSON.stringify(text)}`;
    throw refuse(where, `must be ${setting.format.allowed}${given}`);
  });
  return setting.kind === 'list' ? values : values.at(-1);
}

function configError(where: string, what: string): ChattyError {
  return new ChattyError('CHATTY_CONFIG', `${where} ${what}`);
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

/** What a file of settings could hold; which file was read is no such thing. */
function printable(schema: Schema, values: Record<string, unknown>): Record<string, unknown> {
  const settings = Object.entries(schema).filter(([key]) => key !== 'config');
  return Object.fromEntries(
    settings.map(([key, setting]) => {
      const value = values[key];
      if (value === undefined || value === null) return [key, null];
      if (setting.secret === true) return [key, '(hidden)'];
      const show = (each: unknown): unknown => setting.format.show(each);
      return [key, Array.isArray(value) ? value.map(show) : show(value)];
    }),
  );
}

/**
 * The variables that look like Chatty's and are none: a typing error, most likely.
 * @param schemas of all programs, as one environment may be meant for several.
 */
export function unknownVariables(
  schemas: readonly Schema[],
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  const known = new Set(schemas.flatMap((schema) => Object.keys(schema).map(environmentName)));
  return Object.keys(env).filter(
    (name) => name.startsWith('CHATTY_') && !name.startsWith('CHATTY_INFRA_') && !known.has(name),
  );
}
