import type { FriendGreeting } from '../peer/link-events.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import type { Delivery } from './session-inbox.ts';

export type SessionInput =
  /**
   * Frames go over a new connection from now on; it may replace another without `disconnected`.
   * `greeting` is what its hello or welcome said, where that is known already.
   */
  | {
      readonly type: 'connected';
      readonly friendSession: SessionId;
      readonly greeting?: FriendGreeting | undefined;
    }
  /** The friend's welcome said this, after `connected`. */
  | { readonly type: 'greeted'; readonly greeting: FriendGreeting }
  | { readonly type: 'disconnected' }
  | { readonly type: 'frame'; readonly frame: PeerFrame }
  /** The user says something. Answered with `accepted`, or with `refused` and then nothing is sent. */
  | { readonly type: 'submit'; readonly text: string }
  /** The user will say no more. */
  | { readonly type: 'end-input' }
  /** The program has written everything up to this delivery. */
  | { readonly type: 'delivered'; readonly number: number }
  /**
   * The user leaves. Answered with `left`: at the latest a second later, and at once where there is
   * neither a connection nor, as `expectConnection` says, one about to be there.
   */
  | { readonly type: 'goodbye'; readonly reason: string; readonly expectConnection: boolean }
  | { readonly type: 'tick' };

export type SessionEffect =
  | { readonly type: 'send'; readonly frame: PeerFrame }
  | { readonly type: 'accepted'; readonly id: number }
  | { readonly type: 'refused'; readonly why: 'too-long' | 'full' | 'ended' }
  /** Whether a further message has room. */
  | { readonly type: 'writable'; readonly writable: boolean }
  /** Give this to the program, and hand `delivered` back when it has written it. */
  | ({ readonly type: 'deliver'; readonly session: SessionId } & Delivery)
  /** The friend's program has written the message. */
  | { readonly type: 'acknowledged'; readonly id: number }
  | { readonly type: 'end-acknowledged' }
  /** The friend will say no more, and the program has written all it said. */
  | { readonly type: 'friend-ended' }
  /** The friend has said goodbye, and the program has written all it said. Untrusted text. */
  | { readonly type: 'friend-left'; readonly reason: string }
  /** Our goodbye is over: the friend has answered, or cannot. */
  | { readonly type: 'left'; readonly answered: boolean }
  /**
   * What was said in greeting, on the connection that now should carry, is true no more: close it, and
   * greet anew on another.
   */
  | { readonly type: 'outdated' }
  /** The friend breaks the protocol: close the connection. Its further frames are ignored. */
  | { readonly type: 'fault'; readonly message: string };
