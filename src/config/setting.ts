import type { Format } from './format.ts';

interface SettingBasics<Value> {
  /** One line for `--help`. */
  readonly doc: string;
  readonly format: Format<Value>;
  /** Another long option of the same meaning, like `lb`. */
  readonly alias?: string;
  /** Whether `--print-config` hides the value. */
  readonly secret?: boolean;
  /** What `--help` says of the default, where the value does not say it. */
  readonly defaultDoc?: string;
}

/** A setting with one value, present or not. */
export interface SingleSetting<
  Value,
  Default extends Value | undefined,
> extends SettingBasics<Value> {
  readonly kind: 'single';
  readonly default: Default;
  readonly required: boolean;
}

/** A setting that may be given several times; a comma separates values in the environment. */
export interface ListSetting<Value> extends SettingBasics<Value> {
  readonly kind: 'list';
  readonly default: readonly Value[];
  readonly required: boolean;
}

export type AnySetting = SingleSetting<unknown, unknown> | ListSetting<unknown>;

/**
 * A program's settings by their keys. Key `clusterListen` is `"clusterListen"` in a file,
 * `CHATTY_CLUSTER_LISTEN` in the environment and `--cluster-listen` among the arguments.
 */
export type Schema = Readonly<Record<string, AnySetting>>;

export type ValuesOf<S extends Schema> = {
  readonly [Key in keyof S]: S[Key] extends ListSetting<infer Value>
    ? readonly Value[]
    : S[Key] extends SingleSetting<infer Value, infer Default>
      ? Value | Default
      : never;
};

type Rest<Value> = Omit<SettingBasics<Value>, 'doc' | 'format'>;

/** A setting that is absent unless somebody gives it. */
export function optional<Value>(
  format: Format<Value>,
  doc: string,
  rest: Rest<Value> = {},
): SingleSetting<Value, undefined> {
  return { kind: 'single', format, doc, default: undefined, required: false, ...rest };
}

/** A setting that somebody has to give: as argument, in the environment or in a file. */
export function required<Value>(
  format: Format<Value>,
  doc: string,
  rest: Rest<Value> = {},
): SingleSetting<Value, undefined> {
  return { kind: 'single', format, doc, default: undefined, required: true, ...rest };
}

export function withDefault<Value>(
  format: Format<Value>,
  value: Value,
  doc: string,
  rest: Rest<Value> = {},
): SingleSetting<Value, Value> {
  return { kind: 'single', format, doc, default: value, required: false, ...rest };
}

/** A repeatable setting; naming it replaces the default whole. */
export function list<Value>(
  format: Format<Value>,
  values: readonly Value[],
  doc: string,
  rest: Rest<Value> = {},
): ListSetting<Value> {
  return { kind: 'list', format, doc, default: values, required: false, ...rest };
}

/** A repeatable setting of which there has to be one at least. */
export function requiredList<Value>(
  format: Format<Value>,
  doc: string,
  rest: Rest<Value> = {},
): ListSetting<Value> {
  return { kind: 'list', format, doc, default: [], required: true, ...rest };
}

/** `clusterListen` as `cluster-listen`. */
export function optionName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `clusterListen` as `CHATTY_CLUSTER_LISTEN`. */
export function environmentName(key: string): string {
  return `CHATTY_${optionName(key).replaceAll('-', '_').toUpperCase()}`;
}
