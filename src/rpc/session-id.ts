import { compareBytes } from '../base/identity.ts';
import type { SessionId } from './generated/chatty/v1/common.ts';

/** Orders the sessions of one key: positive where `a` is the newer. */
export function compareSessions(a: SessionId, b: SessionId): number {
  if (a.startedAt !== b.startedAt) return a.startedAt > b.startedAt ? 1 : -1;
  return compareBytes(a.nonce, b.nonce);
}

/** A session id as a key of maps and in logs. */
export function formatSession(session: SessionId): string {
  return `${session.startedAt}-${Buffer.from(session.nonce).toString('hex')}`;
}

/** Whether what came from the wire is a session id. */
export function isSessionId(session: SessionId | undefined): session is SessionId {
  return session?.nonce.length === 16;
}
