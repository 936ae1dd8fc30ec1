import { readFile } from 'node:fs/promises';
import { ChattyError, reasonOf } from '../base/errors.ts';

/** A settings file is some lines; what is longer was named by mistake. */
const MAX_FILE_BYTES = 1_048_576;

/**
 * Reads a JSON file of settings.
 * @throws ChattyError CHATTY_CONFIG, which names the file and what is wrong with it.
 */
export async function readSettingsFile(name: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(name, 'utf8');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? 'there is no such file' : reasonOf(error);
    throw new ChattyError('CHATTY_CONFIG', `cannot read the settings in ${name}: ${what}`, {
      cause: error,
    });
  }
  try {
    if (text.length > MAX_FILE_BYTES) throw new Error('it is too long');
    return JSON.parse(text.replace(/^\uFEFF/, '')) as unknown;
  } catch (error) {
    throw new ChattyError(
      'CHATTY_CONFIG',
      `the settings in ${name} are not JSON: ${reasonOf(error)}`,
      {
        hint: 'A file of settings is one JSON object: { "logLevel": "debug", … }',
        cause: error,
      },
    );
  }
}
