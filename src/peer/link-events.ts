import type { Endpoint, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { Match } from './match.ts';

/** One QUIC connection to the friend, by the number the shell gave it. */
export type ConnectionId = number;

/** What a hello or welcome of the friend's says of the conversation. */
export interface FriendGreeting {
  /** Its number: the higher is the newer in one session; undefined where the friend tells none. */
  readonly conversation: bigint | undefined;
  /** The number of ours that the friend's count is of; undefined where it knows of none. */
  readonly toConversation: bigint | undefined;
  /** How much of what was said here the friend has delivered. */
  readonly receivedUpTo: bigint;
}

/** What happens while one of the friend's sessions is looked for. */
export type AttemptInput =
  /** A path to the friend's session is checked in both directions. */
  | {
      readonly type: 'path-ready';
      /** It is a relay that nothing has come back on yet. Said again when that has changed. */
      readonly presumed?: boolean;
    }
  /** None is any more. */
  | { readonly type: 'path-lost' }
  | { readonly type: 'dial-failed' }
  /** The handshake of a connection we dialled is complete and the friend's key proven. */
  | { readonly type: 'dialled'; readonly connection: ConnectionId }
  /** The friend's key is proven on a connection it dialled. */
  | { readonly type: 'accepted'; readonly connection: ConnectionId };

export type LinkInput =
  | { readonly type: 'match'; readonly match: Match }
  | AttemptInput
  /** The same, of the session that is tried beside the one in use. */
  | { readonly type: 'beside'; readonly input: AttemptInput }
  /** The first frame of a connection the friend dialled. */
  | {
      readonly type: 'hello';
      readonly connection: ConnectionId;
      readonly session: SessionId;
      readonly generation: number;
      readonly greeting: FriendGreeting;
    }
  /** The first frame of a connection we dialled. */
  | {
      readonly type: 'welcome';
      readonly connection: ConnectionId;
      readonly session: SessionId;
      readonly generation: number;
      readonly greeting: FriendGreeting;
    }
  | { readonly type: 'closed'; readonly connection: ConnectionId }
  /** The friend, or the user here, said goodbye: the session is over. */
  | { readonly type: 'goodbye' }
  | { readonly type: 'tick' };

/** What is to be done to look for one of the friend's sessions. */
export type AttemptEffect =
  /** Forget the paths of any earlier session and start checking this one's. */
  | { readonly type: 'punch'; readonly match: Match }
  /** The same session has further candidates. */
  | { readonly type: 'merge'; readonly endpoint: Endpoint }
  | { readonly type: 'stop-punching' }
  /** Start another round of checks. */
  | { readonly type: 'repunch' }
  | { readonly type: 'dial'; readonly key: Uint8Array };

export type LinkEffect =
  | AttemptEffect
  /** The same for a session that is tried beside the one in use, whose paths stay. */
  | { readonly type: 'beside'; readonly effect: AttemptEffect }
  /** What was tried beside is the one in use from now on; the paths of the one before can go. */
  | { readonly type: 'promote' }
  /**
   * A goodbye is no longer fresh, or one of the friend's sessions was sought in vain: ask the servers
   * whether the friend is there.
   */
  | { readonly type: 'ask-again' }
  | { readonly type: 'send-hello'; readonly connection: ConnectionId; readonly generation: number }
  | {
      readonly type: 'send-welcome';
      readonly connection: ConnectionId;
      readonly generation: number;
      /** The friend's, as its hello has told it. */
      readonly conversation: bigint | undefined;
    }
  | { readonly type: 'close'; readonly connection: ConnectionId; readonly reason: string }
  /** A key was proven: the first time for this pair of sessions, or after `reconnecting`. */
  | { readonly type: 'connected'; readonly connection: ConnectionId; readonly first: boolean }
  /** From now on, frames go over this connection. `greeting`: where the friend's came already. */
  | {
      readonly type: 'activate';
      readonly connection: ConnectionId;
      readonly session: SessionId;
      readonly greeting: FriendGreeting | undefined;
    }
  /** The friend's greeting where it changes nothing about which connection carries our frames. */
  | { readonly type: 'greeted'; readonly greeting: FriendGreeting }
  /** No path or no connection is left; the link goes on trying. */
  | { readonly type: 'reconnecting' }
  /** What seemed lost goes on. */
  | { readonly type: 'restored' }
  /** A session that had been connected is given up until the servers match it again. */
  | { readonly type: 'disconnected' }
  /** So is one that never was. */
  | { readonly type: 'unreachable' };

const ATTEMPT_EFFECTS: ReadonlySet<string> = new Set<AttemptEffect['type']>([
  ...(['punch', 'merge', 'stop-punching', 'repunch', 'dial'] as const),
]);

export function isAttemptEffect(effect: LinkEffect): effect is AttemptEffect {
  return ATTEMPT_EFFECTS.has(effect.type);
}
