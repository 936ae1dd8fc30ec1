import { type Address, sameAddress } from '../base/address.ts';
import type { ConnectionIds } from './connection-ids.ts';
import { type NativeConnection, smoothedRttMs } from './native.ts';
import { UnprovenAddress } from './unproven-address.ts';

/**
 * How long a peer that moved has to prove its new address before it is looked for where it was
 * (RFC 9000 §9.3.2): the proof takes up to two round trips, each of which may be repeated.
 */
const MIN_PROOF_MS = 1000;
const MAX_PROOF_MS = 3000;
const PROOF_RTTS = 6;

/**
 * Where the peer of a plain connection is. A new client, and one that seems to have moved, mostly
 * because its NAT gave it another address, has to prove that it receives there (address validation,
 * RFC 9000 §8): the new one by its handshake, the moved one by going over to a connection ID that
 * was sent there only. quiche knows nothing of the moves.
 */
export class PeerAddress {
  readonly #ids: ConnectionIds;
  /** The last that was proven. */
  #address: Address;
  #unproven: UnprovenAddress | undefined;
  #proofEndsAt = Infinity;
  /** The new address that was not proven in time, while the peer is looked for at the old one. */
  #lapsed: UnprovenAddress | undefined;

  /**
   * @param ids - By which the peer proves a move.
   * @param unprovenBytes - The bytes that came from it so far; undefined: it is proven.
   */
  constructor(address: Address, ids: ConnectionIds, unprovenBytes: number | undefined) {
    this.#address = address;
    this.#ids = ids;
    if (unprovenBytes === undefined) return;
    this.#unproven = new UnprovenAddress(address);
    this.#unproven.received(unprovenBytes);
  }

  get address(): Address {
    return this.#address;
  }

  get proven(): boolean {
    return this.#unproven === undefined;
  }

  /** Whether the peer seems to have moved, so that each of its datagrams says where it is. */
  get moving(): boolean {
    return this.#proofEndsAt !== Infinity;
  }

  /** When `lapse` is due; Infinity: never. */
  get proofEndsAt(): number {
    return this.#proofEndsAt;
  }

  /** So many bytes came from the address that the handshake has yet to prove. */
  received(bytes: number): void {
    this.#unproven?.received(bytes);
  }

  /** The handshake is done, which proves the address that it was made from. */
  handshakeDone(): void {
    this.#unproven = undefined;
  }

  /**
   * An authentic datagram came from another address, or from anywhere while the peer is moving.
   * Passes on what quiche throws.
   * @param id - The connection ID that it was addressed to.
   */
  follow(native: NativeConnection, remote: Address, bytes: number, id: string, now: number): void {
    if (sameAddress(remote, this.#address)) {
      this.#settleAt(remote);
      return;
    }
    if (this.#unproven === undefined || !sameAddress(remote, this.#unproven.address)) {
      this.#lapsed = undefined;
      this.#tryAddress(native, new UnprovenAddress(remote), now);
    } else if (this.#ids.isProof(id)) {
      this.#settleAt(remote);
      return;
    }
    this.#unproven?.received(bytes);
  }

  /**
   * The proof did not come: somebody lied, and the peer is still at its old address, or a datagram
   * was lost and it is at the new one. Until it is heard, it is looked for at each in turn, at the
   * new one with what is left of its budget. Passes on what quiche throws.
   */
  lapse(native: NativeConnection, now: number): void {
    const lapsed = this.#lapsed;
    this.#lapsed = this.#unproven;
    if (lapsed !== undefined) {
      this.#tryAddress(native, lapsed, now);
      return;
    }
    this.#unproven = undefined;
    this.#ids.endProof();
    this.#proofEndsAt = now + proofMs(native);
  }

  /** How many bytes may be sent now; Infinity: no limit. */
  get budgetBytes(): number {
    return this.#unproven?.budgetBytes ?? Infinity;
  }

  /** Where so many bytes go, which then count; undefined: they may not be sent yet. */
  spend(bytes: number): Address | undefined {
    const unproven = this.#unproven;
    if (unproven === undefined) return this.#address;
    // And nowhere else: what the peer has to prove the address by may be known only there.
    return unproven.spend(bytes) ? unproven.address : undefined;
  }

  /** The peer seems to be at another address, and shall prove it. */
  #tryAddress(native: NativeConnection, address: UnprovenAddress, now: number): void {
    this.#unproven = address;
    this.#proofEndsAt = now + proofMs(native);
    this.#ids.demandProof(native);
  }

  /** The peer is at `remote`: it was heard there, or has proven to be. */
  #settleAt(remote: Address): void {
    this.#address = remote;
    this.#unproven = undefined;
    this.#lapsed = undefined;
    this.#proofEndsAt = Infinity;
    this.#ids.endProof();
  }
}

function proofMs(native: NativeConnection): number {
  return Math.min(Math.max(MIN_PROOF_MS, PROOF_RTTS * smoothedRttMs(native)), MAX_PROOF_MS);
}
