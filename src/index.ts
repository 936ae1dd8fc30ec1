/** Chatty as a library: see the README's section for those who build on it. */
export {
  Chatty,
  type ChattyEvent,
  type ChattyOptions,
  type ConnectOptions,
} from './chat/chatty.ts';
export {
  type Conversation,
  type ConversationEvent,
  type PathInfo,
  type Trust,
} from './chat/conversation.ts';
export { ChattyError, type ErrorCode, ExitCode } from './base/errors.ts';
