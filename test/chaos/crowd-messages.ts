/** What the run tells a process of the crowd, and what that tells the run. */
export type ToCrowd =
  | {
      readonly type: 'arrive';
      readonly name: string;
      readonly friend: string;
      readonly loadBalancers: readonly string[];
      readonly caPem: string;
      /** Its computer's address. */
      readonly host: string;
    }
  | { readonly type: 'leave'; readonly name: string }
  | { readonly type: 'leave-all' };

export type FromCrowd =
  | { readonly type: 'here' }
  | {
      readonly type: 'matched';
      readonly name: string;
      /** When it began to wait for its friend. */
      readonly wishedAt: number;
      readonly at: number;
    }
  | { readonly type: 'connected'; readonly name: string; readonly at: number }
  /** It has its friend's line, and knows that the friend has its own. */
  | { readonly type: 'met'; readonly name: string }
  | { readonly type: 'failed'; readonly name: string; readonly why: string }
  /** How far one is who has not met its friend, when all leave. */
  | { readonly type: 'unmet'; readonly name: string; readonly how: string }
  /** The program has begun. */
  | { readonly type: 'opened'; readonly name: string }
  | { readonly type: 'all-left'; readonly toll: Toll };

/** What it took a process of the crowd to be all those people. */
export interface Toll {
  /** How late its event loop came to what was due, of all the time. */
  readonly lagP99Ms: number;
  readonly worstLagMs: number;
  /** Share of one core while the people were there. */
  readonly cores: number;
}

/** Milliseconds on a clock that all processes of this computer share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
