import type { Address } from '../base/address.ts';
import type { Candidate } from './candidate.ts';
import type { Path } from './candidate-pair.ts';
import type { Credentials } from './check-message.ts';
import type { StunMessage } from './stun.ts';

/** What a `PathAgent` is told. */
export type PathInput =
  /** A STUN message that is nobody else's; `message.raw` need be valid only during the step. */
  | {
      readonly type: 'stun';
      readonly message: StunMessage;
      readonly remote: Address;
      /** The socket it came to, as in `Path`. */
      readonly local?: Address | undefined;
    }
  /**
   * A port the friend may be at: one check goes there, if it is at an address servers told of in this
   * match. There is no pair until the friend is heard from. How many, and how fast, `PortGuess` says.
   */
  | {
      readonly type: 'guess';
      readonly remote: Address;
      readonly local?: Address | undefined;
      /** Whether the check shall open our own routers' ports only, and die on its way. */
      readonly short?: boolean;
    }
  /** A socket that ports were guessed from is closed. */
  | { readonly type: 'socket-closed'; readonly local: Address }
  /** The time `nextDeadline` named has come. */
  | { readonly type: 'tick' }
  /** The servers told of the friend again, or of more. */
  | {
      readonly type: 'remote-candidates';
      readonly candidates: readonly Candidate[];
      readonly credentials: Credentials;
    }
  /**
   * A server passes on what is sent to it, by its word. `remote` stands for it, and is an address that
   * no packet can come from: see `relayAddress`. Said again, it is asked for the friend again.
   */
  | { readonly type: 'relay-opened'; readonly remote: Address }
  /** It does not any more. */
  | { readonly type: 'relay-closed'; readonly remote: Address }
  /** Our own addresses are others, or something else says that paths are doubtful. */
  | { readonly type: 'network-changed' }
  | { readonly type: 'close' };

/** What it wants done, or known. */
export type PathEffect =
  | {
      readonly type: 'send';
      readonly datagram: Uint8Array;
      readonly remote: Address;
      /** The socket to send from, as in `Path`. */
      readonly local?: Address | undefined;
      /** Whether it shall pass our own routers and no more. */
      readonly short?: boolean;
    }
  /** The friend has answered on a path for the first time. */
  | { readonly type: 'answered'; readonly path: Path }
  /** Both sides have seen both directions of a path. */
  | { readonly type: 'checked'; readonly path: Path }
  /** The best path is another one, or has another class. */
  | { readonly type: 'selected'; readonly path: Path; readonly previous: Path | undefined }
  /** A path has not been answering for 6.5 s. */
  | { readonly type: 'lost'; readonly path: Path }
  /** There was a path and there is none; new rounds are about to start. */
  | { readonly type: 'all-lost' }
  /** A round ended without a direct path. Fresh addresses may help; the next starts at once. */
  | { readonly type: 'round-failed'; readonly round: number }
  /** The last round ended without a direct path. Whatever the friend sends is still answered. */
  | { readonly type: 'failed' };

/**
 * `checking` no path yet, rounds run or are about to; `connected` there is one; `failed` rounds ended
 * without one, until an input gives reason to start again; `closed` for good.
 */
export type PathState = 'checking' | 'connected' | 'failed' | 'closed';

/** Messages that changed nothing, by reason. */
export interface IgnoredMessages {
  /** Meant for, or from, somebody else; or no check at all. */
  foreign: number;
  /** Not made with the password. */
  unauthenticated: number;
  /** Our own check, sent back to us. */
  reflected: number;
  /** A check that was seen before. */
  replayed: number;
  /** An answer to nothing that is still open. */
  stale: number;
  /** Authentic, from an address that nothing may be sent to. */
  refused: number;
}
