import { formatAddress } from '../base/address.ts';
import type { Match, Outcome } from './matching.ts';

interface Told {
  readonly signature: string;
  readonly match: Match | undefined;
}

/** What comes of a wish and is worth telling. */
export type News =
  | Extract<Outcome, { readonly kind: 'conflict' }>
  /** `first`: the two sessions are introduced, rather than told something new of each other. */
  | { readonly kind: 'match'; readonly match: Match; readonly first: boolean };

/** What one registration was last told of each friend, so that it is told what is new only. */
export class ToldFriends {
  readonly #told = new Map<string, Told>();

  /** The match it was told of, if it was. */
  matchWith(friend: string): Match | undefined {
    return this.#told.get(friend)?.match;
  }

  /** The wish is gone, or asked anew: whatever comes of it next is news. */
  forget(friend: string): void {
    this.#told.delete(friend);
  }

  /** @returns what to tell, if `outcome` is not what was told before. */
  news(friend: string, outcome: Outcome): News | undefined {
    if (outcome.kind === 'none') {
      this.#told.delete(friend);
      return undefined;
    }
    const told = this.#told.get(friend);
    const signature = signatureOf(outcome);
    if (told?.signature === signature) return undefined;
    if (outcome.kind === 'conflict') {
      this.#told.set(friend, { signature, match: undefined });
      return outcome;
    }
    const before = sameSessions(outcome.match, told?.match) ? told?.match : undefined;
    // Who dials was decided when the two sessions were first introduced.
    const match =
      before === undefined
        ? outcome.match
        : { ...outcome.match, friendWasWaiting: before.friendWasWaiting };
    this.#told.set(friend, { signature, match });
    return { kind: 'match', match, first: before === undefined };
  }
}

function sameSessions(match: Match, before: Match | undefined): boolean {
  return before?.friendSession === match.friendSession && before.friendKey === match.friendKey;
}

/** Equal for what need not be told twice. */
function signatureOf(news: Exclude<Outcome, { readonly kind: 'none' }>): string {
  if (news.kind === 'conflict') return `conflict ${news.heldBy}`;
  const { friendKey, friendSession, friendEndpoint, relays } = news.match;
  const { ufrag, password, candidates, nat, relayRefused } = friendEndpoint;
  const addresses = candidates.map(({ kind, address }) => `${kind} ${formatAddress(address)}`);
  const seen = nat?.lastObserved === undefined ? '' : formatAddress(nat.lastObserved);
  const network = [nat?.mapping, nat?.step, seen, relayRefused, ...relays].join(' ');
  return [friendKey, friendSession, ufrag, password, network, ...addresses.sort()].join('\n');
}
