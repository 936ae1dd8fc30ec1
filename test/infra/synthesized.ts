import { join } from 'node:path';
import { App, Testing } from 'cdktf';
import { ChattyStack } from '../../infra/chatty-stack.ts';
import { readSettings, type Settings } from '../../infra/settings.ts';

/** Terraform's JSON of a stack, as far as it is looked at here. */
export interface Synthesized {
  readonly terraform: { readonly required_version: string; readonly backend: object };
  readonly resource: Record<string, Record<string, Attributes>>;
  readonly output: Record<string, { readonly value: unknown }>;
}

/** What a resource says: text, numbers, lists and objects by their names. */
export type Attributes = Record<string, unknown>;

/** Settings with defaults, but for `context`. */
function settings(context: object = {}, root = '/nowhere'): Settings {
  return readSettings({ context, environment: {}, root, dataFolder: join(root, 'data') });
}

function stack(context: object, root?: string): ChattyStack {
  return new ChattyStack(
    Testing.stubVersion(new App({ stackTraces: false })),
    'chatty',
    settings(context, root),
  );
}

/** A stack with the settings, as Terraform reads it. */
export function synthesize(context: object = {}): Synthesized {
  return JSON.parse(Testing.synth(stack(context))) as Synthesized;
}

/** The same in a folder, for CDKTF's own checks. @returns the folder with `stacks/chatty`. */
export function synthesizeFolder(context: object, root: string): string {
  return Testing.fullSynth(stack(context, root));
}

/** Resources of a type, by their names. */
export function resources({ resource }: Synthesized, type: string): [string, Attributes][] {
  return Object.entries(resource[type] ?? {});
}

/** A copy to plant a fault in. */
export function planted(whole: Synthesized, plant: (copy: Synthesized) => unknown): Synthesized {
  const copy = structuredClone(whole);
  plant(copy);
  return copy;
}
