import { type Address, sameAddress } from '../base/address.ts';
import type { CheckOutcome } from './events.ts';
import type { Member } from './member.ts';
import type { Suspicion } from './suspicion.ts';

/** So many servers are handed out at a time. */
const HANDED_OUT = 3;
/** So many further servers are named for STUN. */
const FURTHER = 5;

/** A registered server. */
export interface RosterEntry {
  member: Member;
  renewedAt: number;
  leaseUntil: number;
  /** It has served once, and is handed out. */
  listed: boolean;
  suspicion: Suspicion | undefined;
  lastCheck: { readonly outcome: CheckOutcome; readonly at: number } | undefined;
}

/** A registered server as the balancer sees it; times in milliseconds. */
export interface ServerView {
  readonly member: Member;
  /** `suspect`: listed, but it missed a check and gets its second chance. */
  readonly state: 'starting' | 'listed' | 'suspect';
  readonly lastCheck: { readonly outcome: CheckOutcome; readonly agoMs: number } | undefined;
  readonly renewedAgoMs: number;
  /** Negative where its end has not been noticed yet, or is put off by self-distrust. */
  readonly leaseLeftMs: number;
}

/** The registered servers by their ids, and whose turn it is to be handed out. */
export class Roster extends Map<string, RosterEntry> {
  #turn = 0;

  /** Every registered server, for operators. */
  view(now: number): ServerView[] {
    return [...this.values()].map((entry) => {
      const { member, listed, suspicion, lastCheck } = entry;
      return {
        member,
        state: listed ? (suspicion === undefined ? 'listed' : 'suspect') : 'starting',
        lastCheck: lastCheck && { outcome: lastCheck.outcome, agoMs: now - lastCheck.at },
        renewedAgoMs: now - entry.renewedAt,
        leaseLeftMs: entry.leaseUntil - now,
      };
    });
  }

  /** The next peer's servers, the first in turn first; undefined where none is listed. */
  nextTurn():
    | { readonly servers: readonly Member[]; readonly stunAddresses: readonly Address[] }
    | undefined {
    const listed = this.listed();
    if (listed.length === 0) return undefined;
    const first = this.#turn % listed.length;
    this.#turn = first + 1;
    const rotated = [...listed.slice(first), ...listed.slice(0, first)];
    const further = rotated.slice(HANDED_OUT, HANDED_OUT + FURTHER);
    return {
      servers: rotated.slice(0, HANDED_OUT),
      stunAddresses: further.flatMap((member) => member.peerAddresses),
    };
  }

  listed(): Member[] {
    return [...this.values()].filter((entry) => entry.listed).map((entry) => entry.member);
  }

  /** Those listed that nothing is held against. */
  healthy(): Member[] {
    return [...this.values()]
      .filter((entry) => entry.listed && entry.suspicion === undefined)
      .map((entry) => entry.member);
  }

  /** Other servers registered at an address of `member`. */
  holdersOf(member: Member): RosterEntry[] {
    return [...this.values()].filter(
      (entry) =>
        entry.member.id !== member.id &&
        entry.member.clusterAddresses.some((held) =>
          member.clusterAddresses.some((claimed) => sameAddress(held, claimed)),
        ),
    );
  }

  /** No lease ends sooner than then. */
  grantLeases(until: number): void {
    for (const entry of this.values()) entry.leaseUntil = Math.max(entry.leaseUntil, until);
  }
}
