import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/**
 * Where Chatty keeps a user's keys and known friends unless told otherwise: `chatty` in the data
 * folder of the XDG Base Directory Specification 0.8, which has relative paths ignored.
 */
export function defaultStateDirectory(
  env: Readonly<Record<string, string | undefined>>,
  home: string = homedir(),
): string {
  const data = env['XDG_DATA_HOME'] ?? '';
  return join(isAbsolute(data) ? data : join(home, '.local', 'share'), 'chatty');
}
