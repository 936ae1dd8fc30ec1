/** Exit codes of every command; the numbers are sysexits(3)'s where it has one. */
export const ExitCode = {
  done: 0,
  usage: 64,
  noServer: 69,
  noFriend: 75,
  refused: 77,
  config: 78,
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

interface ErrorKind {
  /** What a command that ends for this reason exits with. */
  readonly exit: ExitCode;
  /** The gRPC status it travels as (https://grpc.io/docs/guides/status-codes). */
  readonly grpcStatus: number;
  /** Whether trying again, unchanged, can succeed. */
  readonly retry: boolean;
}

/** The one table of what can go wrong. A code, once released, keeps its meaning. */
export const ERRORS = {
  CHATTY_USAGE: { exit: ExitCode.usage, grpcStatus: 3, retry: false },
  CHATTY_CONFIG: { exit: ExitCode.config, grpcStatus: 9, retry: false },
  CHATTY_PLATFORM: { exit: ExitCode.config, grpcStatus: 12, retry: false },
  CHATTY_KEY_FILE: { exit: ExitCode.config, grpcStatus: 9, retry: false },
  CHATTY_PORT_IN_USE: { exit: ExitCode.config, grpcStatus: 9, retry: true },
  CHATTY_NO_SERVER: { exit: ExitCode.noServer, grpcStatus: 14, retry: true },
  CHATTY_NO_FRIEND: { exit: ExitCode.noFriend, grpcStatus: 4, retry: true },
  CHATTY_NAME_TAKEN: { exit: ExitCode.refused, grpcStatus: 6, retry: true },
  CHATTY_KEY_CHANGED: { exit: ExitCode.refused, grpcStatus: 16, retry: false },
  CHATTY_REPLACED: { exit: ExitCode.refused, grpcStatus: 10, retry: false },
  CHATTY_UNTRUSTED: { exit: ExitCode.refused, grpcStatus: 16, retry: false },
  CHATTY_VERSION: { exit: ExitCode.config, grpcStatus: 9, retry: false },
  CHATTY_PROTOCOL: { exit: ExitCode.noServer, grpcStatus: 3, retry: true },
  CHATTY_TRANSPORT: { exit: ExitCode.noServer, grpcStatus: 14, retry: true },
  CHATTY_OVERLOADED: { exit: ExitCode.noServer, grpcStatus: 8, retry: true },
  CHATTY_MESSAGE_TOO_LONG: { exit: ExitCode.usage, grpcStatus: 3, retry: false },
  CHATTY_NOT_UTF8: { exit: ExitCode.usage, grpcStatus: 3, retry: false },
  CHATTY_INTERRUPTED: { exit: ExitCode.interrupted, grpcStatus: 1, retry: false },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorDetails {
  /** What to try, as a sentence; shown on its own line. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * Every error that reaches a user. `message` says what happened and why, `hint` what to try;
 * `code` is stable and decides exit code, gRPC status and whether a retry helps.
 */
export class ChattyError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ChattyError';
    this.code = code;
    this.hint = details.hint;
  }

  get exitCode(): ExitCode {
    return ERRORS[this.code].exit;
  }

  get retry(): boolean {
    return ERRORS[this.code].retry;
  }
}

/** Whatever was thrown, as an error of ours: what is none went wrong on the way. */
export function asChattyError(error: unknown): ChattyError {
  if (error instanceof ChattyError) return error;
  return new ChattyError('CHATTY_TRANSPORT', reasonOf(error), { cause: error });
}

/** The text of whatever was thrown, for sentences like "…: connection refused". */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
