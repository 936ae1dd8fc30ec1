type LogField = string | number | bigint | boolean | null | undefined | readonly LogField[];

/** What belongs to one log line beside its event. */
export type LogFields = Readonly<Record<string, LogField>>;

/**
 * Where a program says what it does: an event named by a short sentence, and its fields. People's
 * names and addresses of peers are given to `debug` only.
 */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

const nothing = (): void => undefined;

/** Says nothing. */
export const silentLogger: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};
