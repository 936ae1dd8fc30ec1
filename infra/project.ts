import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { readSettings, type Settings } from './settings.ts';

/** The folder with cdktf.json. */
export const ROOT = resolve(import.meta.dirname, '..');

/**
 * The settings as cdktf.json and the environment have them. The file is read here, since the CDKTF
 * CLI is not the only way to run this.
 * @throws SettingsError
 */
export function projectSettings(): Settings {
  const file = JSON.parse(readFileSync(join(ROOT, 'cdktf.json'), 'utf8')) as {
    context?: { chatty?: unknown };
  };
  const { env } = process;
  return readSettings({
    context: file.context?.chatty,
    environment: env,
    root: ROOT,
    dataFolder: env['XDG_DATA_HOME'] ?? env['LOCALAPPDATA'] ?? join(homedir(), '.local', 'share'),
  });
}
