import type { RecordKey } from './record.ts';
import type { RelayGrant } from './relay-grants.ts';
import { type RelayLink, sameLink } from './relay-link.ts';

/** A peer binds again every 15 s: after four times in vain its address may be somebody else's. */
const BOUND_MS = 60_000;
/** How long a peer may be relayed to where it has yet to answer a challenge. */
const UNCONFIRMED_MS = 5_000;
/** IPv4 and IPv6, each at two ports of the server's. */
const MAX_LINKS = 4;

interface BoundLink {
  readonly link: RelayLink;
  until: number;
  confirmed: boolean;
}

/**
 * One side of a relayed pair and the links it is bound to: that of its registration here, if it has
 * one, wherever that moves, and those it has bound by frames.
 */
export class RelaySide implements RelayGrant {
  readonly channel: string;
  readonly proofKey: Uint8Array;
  readonly peer: RecordKey;
  /** The connection of its registration here. */
  connection: number | undefined;
  /** When it was last told of a limit. */
  limitedAt = -Infinity;
  /** When it was last challenged for sending from where it is not bound. */
  challengedAt = -Infinity;
  readonly #linkOf: (connection: number) => RelayLink | undefined;
  readonly #links: BoundLink[] = [];
  #heardFrom: RelayLink | undefined;
  #unconfirmedUntil = -Infinity;

  /** @param linkOf where a connection comes from at this moment; undefined: it is gone. */
  constructor(
    peer: RecordKey,
    { channel, proofKey }: RelayGrant,
    linkOf: (connection: number) => RelayLink | undefined,
  ) {
    this.peer = peer;
    this.channel = channel;
    this.proofKey = proofKey;
    this.#linkOf = linkOf;
  }

  /** Whether this is where its registration here comes from. */
  isRegisteredAt(link: RelayLink): boolean {
    const registered = this.#registered();
    return registered !== undefined && sameLink(registered, link);
  }

  isBoundTo(link: RelayLink, now: number): boolean {
    return this.isRegisteredAt(link) || this.#find(link, now) !== undefined;
  }

  /** Whether it has proven that it receives there. */
  hasProven(link: RelayLink, now: number): boolean {
    return this.isRegisteredAt(link) || this.#find(link, now)?.confirmed === true;
  }

  /** Where it is sent to: where it was heard from last, of the links it is bound to. */
  whereabouts(now: number): RelayLink | undefined {
    if (this.#heardFrom !== undefined && this.isBoundTo(this.#heardFrom, now)) {
      return this.#heardFrom;
    }
    return this.#registered() ?? this.#links.findLast(({ until }) => now < until)?.link;
  }

  /** It receives at `link`: it has proven that. */
  bind(link: RelayLink, now: number): void {
    this.#heardFrom = link;
    if (!this.isRegisteredAt(link)) this.#put({ link, until: now + BOUND_MS, confirmed: true });
  }

  /**
   * It is likely to receive at `link`, and has yet to answer a challenge.
   * @returns false where it had its time to do so already.
   */
  bindForNow(link: RelayLink, now: number): boolean {
    if (now < this.#unconfirmedUntil + BOUND_MS) return false;
    this.#unconfirmedUntil = now + UNCONFIRMED_MS;
    this.#heardFrom = link;
    this.#put({ link, until: this.#unconfirmedUntil, confirmed: false });
    return true;
  }

  /** Something of its own came from `link`, to which it is bound. */
  heardFrom(link: RelayLink, now: number): void {
    this.#heardFrom = link;
    const bound = this.#find(link, now);
    if (bound?.confirmed === true) bound.until = now + BOUND_MS;
  }

  #registered(): RelayLink | undefined {
    return this.connection === undefined ? undefined : this.#linkOf(this.connection);
  }

  #find(link: RelayLink, now: number): BoundLink | undefined {
    return this.#links.find((bound) => now < bound.until && sameLink(bound.link, link));
  }

  #put(bound: BoundLink): void {
    const at = this.#links.findIndex(({ link }) => sameLink(link, bound.link));
    if (at >= 0) this.#links.splice(at, 1);
    else if (this.#links.length >= MAX_LINKS) this.#links.shift();
    this.#links.push(bound);
  }
}
