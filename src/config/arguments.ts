import { optionName, type Schema, type ValuesOf } from './setting.ts';

/**
 * Arguments that mean exactly these values, whatever environment and file say: `readConfiguration`
 * the other way round. Which file was read is left out; its values are in.
 */
export function argumentsFor<S extends Schema>(schema: S, values: ValuesOf<S>): string[] {
  return Object.entries(schema).flatMap(([key, setting]) => {
    const value: unknown = values[key];
    if (key === 'config' || value === undefined) return [];
    const name = `--${optionName(key)}`;
    // A switch is named where it is not as it is by itself.
    if (setting.format.placeholder === undefined) {
      if (value === setting.default) return [];
      return [value === true ? name : `--no-${optionName(key)}`];
    }
    const all: readonly unknown[] = setting.kind === 'list' ? (value as unknown[]) : [value];
    return all.flatMap((each) => [name, String(setting.format.show(each))]);
  });
}
