import type { Fault, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { FriendHello, FriendWelcome } from '../rpc/generated/chatty/v1/peer.ts';
import { negotiate, OWN_PROTOCOL } from '../rpc/protocol.ts';
import { compareSessions, isSessionId } from '../rpc/session-id.ts';
import type { FriendGreeting } from './link-events.ts';

/** Who greets whom. */
export interface GreetingParties {
  readonly ownName: string;
  readonly ownSession: SessionId;
  readonly friend: string;
}

/** What a greeting from the wire says, checked. */
interface Greeted {
  readonly session: SessionId;
  readonly generation: number;
  readonly greeting: FriendGreeting;
}

/** `fault`: no version is common; `refused`: why the greeting is none for this conversation. */
export type GreetingRead = Greeted | { readonly fault: Fault } | { readonly refused: string };

/** The hello to a session of the friend's. */
export function helloTo(
  toSession: SessionId,
  { ownName, ownSession, friend }: GreetingParties,
  said: { readonly generation: number; readonly greeting: FriendGreeting },
): FriendHello {
  return {
    protocol: OWN_PROTOCOL,
    from: ownName,
    to: friend,
    fromSession: ownSession,
    toSession,
    generation: said.generation,
    ...said.greeting,
  };
}

/** The answer to a hello, whose sender knows whose count it is of. */
export function welcomeFrom(
  fromSession: SessionId,
  said: { readonly generation: number; readonly greeting: FriendGreeting },
): FriendWelcome {
  const { conversation, receivedUpTo } = said.greeting;
  const { generation } = said;
  return { protocol: OWN_PROTOCOL, fromSession, generation, conversation, receivedUpTo };
}

export function readHello(hello: FriendHello, parties: GreetingParties): GreetingRead {
  const agreed = negotiate(hello.protocol, 'friend');
  if ('fault' in agreed) return agreed;
  const { fromSession, toSession, generation } = hello;
  const { conversation, toConversation, receivedUpTo } = hello;
  const meant =
    hello.from === parties.friend &&
    hello.to === parties.ownName &&
    isSessionId(toSession) &&
    compareSessions(toSession, parties.ownSession) === 0;
  if (!meant || !isSessionId(fromSession)) {
    return { refused: 'the hello is not for this conversation' };
  }
  const greeting = { conversation, toConversation, receivedUpTo };
  return { session: fromSession, generation, greeting };
}

export function readWelcome(welcome: FriendWelcome): GreetingRead {
  const agreed = negotiate(welcome.protocol, 'friend');
  if ('fault' in agreed) return agreed;
  const { fromSession, generation, conversation, receivedUpTo } = welcome;
  if (!isSessionId(fromSession)) return { refused: 'the welcome is not of a session' };
  // It answers our hello, which has told the number of our conversation.
  const greeting = { conversation, toConversation: undefined, receivedUpTo };
  return { session: fromSession, generation, greeting };
}
