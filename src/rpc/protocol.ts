import type { Fault, Protocol } from './generated/chatty/v1/common.ts';

/** ALPN of the conversation between a peer and a rendezvous server. */
export const RENDEZVOUS_ALPN = 'chatty-rv/1';
/** ALPN of the conversation between friends. */
export const FRIEND_ALPN = 'chatty/1';

/** The lowest and the highest version of the protocol this program speaks. */
const LOWEST_VERSION = 1;
const HIGHEST_VERSION = 1;

/** What this program says of itself in every hello. */
export const OWN_PROTOCOL: Protocol = {
  lowestVersion: LOWEST_VERSION,
  highestVersion: HIGHEST_VERSION,
  features: 0n,
  software: 'chatty/0.1.0',
};

export interface Agreement {
  readonly version: number;
  /** The features that both sides know. */
  readonly features: bigint;
}

/**
 * The version two speakers use: the highest both know. A hello without a protocol is version 1's
 * first form.
 * @param remoteRole who the other is, for the sentence: "server", "friend", …
 * @returns what was agreed, or the fault to tell the other side, which says what to update.
 */
export function negotiate(
  remote: Protocol | undefined,
  remoteRole: string,
  own: Protocol = OWN_PROTOCOL,
): { agreement: Agreement } | { fault: Fault } {
  const lowest = remote?.lowestVersion ?? 1;
  const highest = remote?.highestVersion ?? 1;
  const version = Math.min(own.highestVersion, highest);
  if (version >= Math.max(own.lowestVersion, lowest) && highest >= lowest) {
    return { agreement: { version, features: own.features & (remote?.features ?? 0n) } };
  }
  const outdated = highest < own.lowestVersion ? `the ${remoteRole}'s Chatty` : 'this Chatty';
  const message =
    `the ${remoteRole} speaks versions ${lowest} to ${highest} of the protocol, this program ` +
    `${own.lowestVersion} to ${own.highestVersion}: update ${outdated}`;
  return { fault: { code: 'CHATTY_VERSION', message, retryAfterMs: 0 } };
}
