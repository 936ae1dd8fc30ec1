import type { Endpoint, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { MatchFound } from '../rpc/generated/chatty/v1/rendezvous.ts';
import { isSessionId } from '../rpc/session-id.ts';

/** A match as this peer believes it, every field checked. */
export interface Match {
  readonly session: SessionId;
  /** The friend's fingerprint. */
  readonly key: Uint8Array;
  readonly endpoint: Endpoint;
  readonly friendWasWaiting: boolean;
}

/** Checks what a server says of a match. @returns undefined for what cannot be one. */
export function readMatch(found: MatchFound): Match | undefined {
  const { friendSession, friendEndpoint, friendKey } = found;
  if (!isSessionId(friendSession) || friendKey.length !== 32) return undefined;
  if (friendEndpoint === undefined) return undefined;
  return {
    session: friendSession,
    key: friendKey,
    endpoint: friendEndpoint,
    friendWasWaiting: found.friendWasWaiting,
  };
}
