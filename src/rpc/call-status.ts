import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import { ChattyError, type ErrorCode, ERRORS, reasonOf } from '../base/errors.ts';

// How a ChattyError travels: the status of the error table, its message as details, and the code and
// hint in the trailers, so that a peer can tell the server's own words from those of its transport.
const CODE_KEY = 'chatty-code';
const HINT_KEY = 'chatty-hint-bin';

/** What system calls say when nothing came back, or this computer has no way to send. */
const NETWORK_SILENCE = /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN/;

/** How OpenSSL reports: numbers, the library, the function, the reason, the place in its source. */
const OPENSSL_LINE = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):[^]*$/;

/** Texts from the other side are cut to this many characters. */
const MAX_TEXT = 500;

/** The gRPC status to answer a call with, for whatever its handler threw. */
export function statusOf(error: unknown): Partial<StatusObject> {
  if (!(error instanceof ChattyError)) {
    // What went wrong inside is for our log, not for the caller.
    return { code: status.INTERNAL, details: 'internal error' };
  }
  const metadata = new Metadata();
  metadata.set(CODE_KEY, error.code);
  if (error.hint !== undefined) metadata.set(HINT_KEY, Buffer.from(error.hint));
  // The table holds gRPC's own numbers.
  const code = ERRORS[error.code].grpcStatus as unknown as status;
  return { code, details: error.message, metadata };
}

/** Whether a failed call was answered by the other program itself, rather than by a transport. */
export function answeredError(error: unknown): ChattyError | undefined {
  if (!isServiceError(error)) return undefined;
  const code = error.metadata.get(CODE_KEY)[0];
  if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code)) return undefined;
  const hint = error.metadata.get(HINT_KEY)[0];
  return new ChattyError(code as ErrorCode, error.details.slice(0, MAX_TEXT), {
    cause: error,
    ...(Buffer.isBuffer(hint) ? { hint: hint.toString().slice(0, MAX_TEXT) } : {}),
  });
}

/** Why a call failed, as the end of a sentence. */
export function callFailure(error: unknown): string {
  if (!isServiceError(error)) return reasonOf(error);
  if (error.code === status.DEADLINE_EXCEEDED) return 'timed out';
  const { details } = error;
  if (details.includes('ECONNREFUSED')) return 'connection refused';
  // The other side's TLS alerts (RFC 8446 §6.2).
  if (/alert (certificate required|bad certificate|unknown ca)/.test(details)) {
    return 'it lets in only certificates of its own cluster; peers ask at another port';
  }
  return details
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\s*\(\d{4}-\d\d-\d\dT[^]*$/, '')
    .replace(OPENSSL_LINE, '$1')
    .slice(0, MAX_TEXT);
}

/**
 * Whether a call failed for want of any answer (a deadline passed), rather than by an answer or a
 * refusal from the other side's computer.
 */
export function isSilence(error: unknown): boolean {
  return (
    isServiceError(error) &&
    (error.code === status.DEADLINE_EXCEEDED || NETWORK_SILENCE.test(error.details))
  );
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}
