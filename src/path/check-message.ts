import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import { encodeStun, StunAttribute, type StunMessage, xorMappedAddress } from './stun.ts';

/*
 * Connectivity checks between peers: Binding requests and their answers with short-term credentials
 * (RFC 8445 §7.1, §7.3), and in each, under MESSAGE-INTEGRITY,
 *
 * PAIR-STATE (0xcc02): what the sender knows of the pair that the datagram travels on
 *
 *   0  1  flags; 0x01 ANSWERED: it has had an authenticated answer from the address this goes to
 *   1  1  the class it takes the path for: 1 LAN, 2 public, 3 relay
 *   2  6  the number under which the pair was nominated, as far as the sender knows; 0: it was not
 *
 * With it both sides come to know that both have seen both directions, agree on the class, and use
 * the same pair: from the controlling side the number nominates, as USE-CANDIDATE does (RFC 8445
 * §7.1.2), from the controlled side it says that the nomination has arrived. nomination.ts has the
 * rules.
 *
 * Checks have one of two lengths, S and 2 S, where S holds either a check or an answer; answers have
 * S. So to a check of 2 S one may send back an answer and a check of one's own, and still no more
 * than came in, which is all that an address of which nothing else is known may get.
 *
 * What Chatty does not take from ICE: priorities, and role conflicts, which cannot be where keys give
 * the roles. Before a nomination arrives each side sends on the best path it knows, which class a
 * connection uses is for the QUIC dialer to say.
 */

/** ICE credentials of one peer (RFC 8445 §5.3). */
export interface Credentials {
  /** 4 to 32 characters. */
  readonly ufrag: string;
  /** 22 to 64 characters. */
  readonly password: string;
}

/** What each side tells the other of a pair. */
export interface PairState {
  readonly answered: boolean;
  readonly pathClass: PathClass;
  /** 0: it was not nominated. Below 2^48. */
  readonly nomination: number;
}

const MAX_UFRAG_CHARACTERS = 32;
const ANSWERED = 0x01;
const LAN = 1;
const PUBLIC = 2;
const RELAY = 3;
const CLASS_CODES: Readonly<Record<PathClass, number>> = { lan: LAN, public: PUBLIC, relay: RELAY };
const CLASSES: ReadonlyMap<number, PathClass> = new Map([
  [LAN, 'lan'],
  [PUBLIC, 'public'],
  [RELAY, 'relay'],
]);
const NOMINATION_AT = 2;
const NOMINATION_BYTES = 6;
const PAIR_STATE_BYTES = NOMINATION_AT + NOMINATION_BYTES;
/** Header, XOR-MAPPED-ADDRESS of an IPv6 address, PAIR-STATE, MESSAGE-INTEGRITY, FINGERPRINT. */
const MAX_BARE_ANSWER_BYTES = 20 + 24 + 12 + 24 + 8;
/** Header, the header of USERNAME, PAIR-STATE, MESSAGE-INTEGRITY, FINGERPRINT. */
const FIXED_CHECK_BYTES = 20 + 4 + 12 + 24 + 8;

/** Writes and reads what two peers send each other to check the paths between them. */
export class CheckCodec {
  /** The length of an answer and of a small check, S; a full check has twice as many bytes. */
  readonly smallBytes: number;
  /** What a request of the friend's carries as USERNAME: whom it is for, then whom it is from. */
  readonly incomingUsername: string;
  readonly outgoingUsername: string;
  readonly #local: Credentials;
  readonly #remote: Credentials;
  readonly #username: Uint8Array;

  constructor(local: Credentials, remote: Credentials) {
    this.#local = local;
    this.#remote = remote;
    // The friend's come from the wire: what is too long is cut, and then fits nobody.
    const remoteUfrag = remote.ufrag.slice(0, MAX_UFRAG_CHARACTERS);
    this.incomingUsername = `${local.ufrag}:${remoteUfrag}`;
    this.outgoingUsername = `${remoteUfrag}:${local.ufrag}`;
    this.#username = Buffer.from(this.outgoingUsername);
    const checkBytes = FIXED_CHECK_BYTES + ((this.#username.length + 3) & ~3);
    this.smallBytes = Math.max(MAX_BARE_ANSWER_BYTES, checkBytes);
  }

  /** A check; `small` where no more may be sent than came in. */
  encodeCheck(transactionId: Uint8Array, state: PairState, small: boolean): Uint8Array {
    return encodeStun('request', transactionId, {
      attributes: [
        [StunAttribute.username, this.#username],
        [StunAttribute.pairState, encodePairState(state)],
      ],
      password: this.#remote.password,
      minBytes: small ? this.smallBytes : 2 * this.smallBytes,
    });
  }

  /** The answer to a check that came from `source`. */
  encodeAnswer(transactionId: Uint8Array, source: Address, state: PairState): Uint8Array {
    return encodeStun('success', transactionId, {
      attributes: [
        [StunAttribute.xorMappedAddress, xorMappedAddress(source, transactionId)],
        [StunAttribute.pairState, encodePairState(state)],
      ],
      password: this.#local.password,
      minBytes: this.smallBytes,
    });
  }
}

/** What the friend says of the pair; a friend that says nothing knows nothing. */
export function pairStateOf(message: StunMessage): PairState {
  const value = message.attributes.get(StunAttribute.pairState);
  return {
    answered: ((value?.[0] ?? 0) & ANSWERED) !== 0,
    pathClass: CLASSES.get(value?.[1] ?? PUBLIC) ?? 'public',
    nomination:
      value === undefined || value.length < PAIR_STATE_BYTES
        ? 0
        : Buffer.from(value).readUIntBE(NOMINATION_AT, NOMINATION_BYTES),
  };
}

function encodePairState({ answered, pathClass, nomination }: PairState): Uint8Array {
  const value = Buffer.alloc(PAIR_STATE_BYTES);
  value[0] = answered ? ANSWERED : 0;
  value[1] = CLASS_CODES[pathClass];
  value.writeUIntBE(nomination, NOMINATION_AT, NOMINATION_BYTES);
  return value;
}
