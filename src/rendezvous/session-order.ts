import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';

/*
 * A session id as text: 16 hexadecimal digits of the start time, then 32 of the nonce, so that the
 * order of texts is the order of sessions (the later start, then the bytewise higher nonce, is the
 * newer).
 */

const NONCE_BYTES = 16;

/** @returns undefined for what is no session id. */
export function sessionFromWire(session: SessionId | undefined): string | undefined {
  if (session?.nonce.length !== NONCE_BYTES) return undefined;
  return session.startedAt.toString(16).padStart(16, '0') + session.nonce.toString('hex');
}

/** The inverse of `sessionFromWire`. */
export function sessionToWire(session: string): SessionId {
  return {
    startedAt: BigInt(`0x${session.slice(0, 16)}`),
    nonce: Buffer.from(session.slice(16), 'hex'),
  };
}
