import type { Member } from './member.ts';

/**
 * What a health check found. `refused`: the server's computer or program said no, or the connection
 * broke. `silent`: nothing came back in time, which may be anybody's fault.
 */
export type CheckOutcome = 'serving' | 'not-serving' | 'refused' | 'silent';

/** What the servers are told of one of them. */
export interface Fact {
  readonly member: Member;
  readonly state: 'alive' | 'removed' | 'left';
}

export type RegistryInput =
  /** A server registers; `call` names the call that waits for an answer. */
  | {
      readonly kind: 'register';
      readonly call: number;
      readonly member: Member;
      /** Peer addresses of load balancers the server knows of. */
      readonly balancers: readonly string[];
    }
  | { readonly kind: 'deregister'; readonly id: string; readonly incarnation: bigint }
  | {
      readonly kind: 'checked';
      readonly check: number;
      readonly outcome: CheckOutcome;
      /** Why it did not serve, for people. */
      readonly detail?: string | undefined;
    }
  /** What another server found; `no-answer`: it could not be asked. */
  | {
      readonly kind: 'probed';
      readonly probe: number;
      readonly found: 'healthy' | 'unhealthy' | 'no-answer';
    }
  | { readonly kind: 'notified'; readonly notice: number; readonly delivered: boolean }
  | { readonly kind: 'tick' };

export type RegistryEffect =
  /** Ask the server for its health. Answered by `checked`. */
  | {
      readonly kind: 'check';
      readonly check: number;
      readonly member: Member;
      readonly deadlineMs: number;
    }
  /** Have `via` ask `target` for its health. Answered by `probed`. */
  | {
      readonly kind: 'probe';
      readonly probe: number;
      readonly via: Member;
      readonly target: Member;
      readonly deadlineMs: number;
    }
  /** Tell `to`, which tells the rest. Answered by `notified`. */
  | {
      readonly kind: 'notify';
      readonly notice: number;
      readonly to: Member;
      readonly fact: Fact;
      readonly deadlineMs: number;
    }
  /** Answer a registration. */
  | {
      readonly kind: 'answer';
      readonly call: number;
      readonly listed: boolean;
      readonly members: readonly Member[];
      /** Why it is not listed; empty where it is. */
      readonly reason: string;
    }
  /** Refuse a registration. */
  | {
      readonly kind: 'refuse';
      readonly call: number;
      readonly why: 'outdated' | 'address-taken' | 'full';
    }
  /** Close the connections to a server that is not registered any more. */
  | { readonly kind: 'forget'; readonly id: string }
  /** For the log. */
  | {
      readonly kind: 'report';
      readonly event: 'listed' | 'removed' | 'left' | 'self-distrust' | 'self-trust';
      readonly member?: Member;
      readonly reason: string;
    };
