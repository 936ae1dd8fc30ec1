/*
 * Which of several connections between two sessions stays has to be decided alike on both sides.
 * `generation` counts the greeted connections between the two sessions that have ended. A connection
 * of a higher generation replaces one of a lower: whoever dialled it knows that the lower one is dead.
 * Two of one generation come from both sides dialling at once, and the one dialled by the lower
 * fingerprint stays; or from one side dialling twice, which means that its first is dead, for each
 * side dials one at a time.
 *
 * A friend that ends the conversation and begins another in the same session counts generations anew.
 * Connections of the conversation before are dead to it, whatever their generation.
 */

/** The highest generation that travels (`uint32`). */
export const MAX_GENERATION = 2 ** 32 - 1;

/** One connection to the friend, as far as it matters which one stays. */
export interface LinkConnection {
  readonly dialledByUs: boolean;
  readonly since: number;
  /** Both sides have said hello: the dialer has the welcome, the acceptor has sent it. */
  greeted: boolean;
  /** By which it is judged: the hello's, and once greeted the higher of both sides'. */
  generation: number;
  /** The friend's, once greeted; 0 where it tells none. */
  conversation: bigint;
  /** When it is closed unless it has been greeted and is the one in use. */
  expiresAt: number | undefined;
}

/**
 * What becomes of a connection with a hello of this generation beside the one in use. waits: it will
 * be closed once the friend has welcomed the one in use, and carries until then. wins: so will the
 * other.
 */
export function judge(
  rival: LinkConnection,
  generation: number,
  weAreLower: boolean,
): 'loses' | 'waits' | 'wins' | 'replaces' {
  if (generation !== rival.generation) {
    return generation < rival.generation ? 'loses' : 'replaces';
  }
  if (!rival.dialledByUs) return 'replaces';
  if (!weAreLower) return 'wins';
  return rival.greeted ? 'loses' : 'waits';
}

/** Whether a greeting still to come can make this connection the one that stays. */
export function mayYetWin(
  connection: LinkConnection,
  weAreLower: boolean,
  generation: number,
): boolean {
  if (connection.greeted) return false;
  return !connection.dialledByUs || (weAreLower && connection.generation >= generation);
}

/** Whether a connection is one of a conversation that the friend has ended. */
export function isEarlierThan(connection: LinkConnection, conversation: bigint): boolean {
  return connection.greeted && connection.conversation < conversation;
}
