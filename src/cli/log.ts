import type { Writable } from 'node:stream';
import { pino } from 'pino';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { LogFields, Logger } from '../base/logger.ts';
import type { LogLevel } from '../config/schemas.ts';

/**
 * A log of JSON lines: `{"level":"info","time":"…","event":"listed",…}`.
 * @param file where it is appended; default `stderr`.
 * @throws ChattyError CHATTY_CONFIG if the file cannot be written.
 */
export function openLog(level: LogLevel, file: string | undefined, stderr: Writable): Logger {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    messageKey: 'event',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: {},
  };
  const logger = pino(options, file === undefined ? stderr : destination(file));
  const at =
    (method: 'debug' | 'info' | 'warn' | 'error') =>
    (event: string, fields: LogFields = {}): void => {
      if (logger.isLevelEnabled(method)) logger[method](printable(fields), event);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function destination(file: string): pino.DestinationStream {
  try {
    // Synchronous: the last lines before an end are the ones somebody looks for.
    return pino.destination({ dest: file, append: true, sync: true, mode: 0o600 });
  } catch (error) {
    throw new ChattyError('CHATTY_CONFIG', `cannot write the log to ${file}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** JSON has no bigint. */
function printable(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? value.toString() : value,
    ]),
  );
}
