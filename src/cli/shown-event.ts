import type { ChattyEvent } from '../chat/chatty.ts';
import type { ConversationEvent } from '../chat/conversation.ts';
import type { ChattyError } from '../base/errors.ts';

type Passed = Extract<
  ConversationEvent,
  {
    type:
      | 'waiting'
      | 'matched'
      | 'connected'
      | 'path'
      | 'delivered'
      | 'friend-ended'
      | 'obstacle'
      | 'guessing'
      | 'relay-limited'
      | 'reconnecting'
      | 'disconnected';
  }
>;
type Registered = Extract<ChattyEvent, { type: 'registered' }>;
type Message = Omit<Extract<ConversationEvent, { type: 'message' }>, 'accept'>;

/** Everything a user of `chatty` is shown, in whatever form. Text in it is untrusted. */
export type ShownEvent =
  | Passed
  | Registered
  | Message
  /** A line of one's own was accepted for sending. */
  | { readonly type: 'sent'; readonly id: number; readonly text: string }
  | { readonly type: 'invitation'; readonly link: string }
  | { readonly type: 'error'; readonly error: ChattyError };

/** How events look: each as lines of text without the last newline, or not at all. */
export interface Screen {
  /** @param atMs since the program started. */
  show(event: ShownEvent, atMs: number): string | undefined;
}
