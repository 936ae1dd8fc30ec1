import { type Address, sameAddress } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import {
  encodeRelayFrame,
  relayAddress,
  RelayBinding,
  type RelayBindingInput,
  type RelayFrame,
  type RelayLimit,
} from '../path/index.ts';
import type { RelayOffer } from './match.ts';

/** A way to a relaying server: from our socket to one of its addresses, or a tunnel. */
export interface RelayRoute {
  readonly address: Address;
  /** The tunnel to that address, where it is one: another tunnel is another way. */
  readonly tunnel?: object;
  /** `datagram` is ours to keep. */
  send(datagram: Uint8Array): void;
}

interface RelayClientEvents {
  /** The relay that `remote` stands for carries what is sent; see `relay-opened`. */
  opened(remote: Address): void;
  closed(remote: Address): void;
  /** A datagram came over it from the friend's side; valid only during the call. */
  received(payload: Uint8Array, remote: Address): void;
  /** The server drops what is too much. */
  limited(limit: RelayLimit): void;
}

export interface RelayClientOptions {
  readonly clock: Clock;
  /** The ways to the server of an offer, best first. */
  routesTo(offer: RelayOffer): readonly RelayRoute[];
  readonly events: RelayClientEvents;
}

interface Relay {
  readonly offer: RelayOffer;
  readonly remote: Address;
  readonly binding: RelayBinding<RelayRoute>;
  readonly routes: readonly RelayRoute[];
  readonly alarm: Alarm;
}

/** One more than a match names: what is in use goes on when another takes its place there. */
const MAX_RELAYS = 3;

/** Our side of the relays between us and one session of a friend. */
export class RelayClient {
  readonly #options: RelayClientOptions;
  readonly #relays = new Map<string, Relay>();
  #lastIndex = -1;
  #wanted = true;
  #closed = false;

  constructor(options: RelayClientOptions) {
    this.#options = options;
  }

  /**
   * Takes the relays of the latest match. One that is not among them any more is kept as long as there
   * is room: its server says itself when it is over.
   */
  offer(offers: readonly RelayOffer[]): void {
    if (this.#closed) return;
    const latest = new Set(offers.map(({ channel }) => channel));
    for (const offer of offers) {
      const known = this.#relays.get(offer.channel);
      if (known !== undefined && this.#isStale(known)) this.#drop(offer.channel, known);
      if (!this.#relays.has(offer.channel)) this.#add(offer);
    }
    for (const [channel, relay] of [...this.#relays]) {
      if (this.#relays.size > MAX_RELAYS && !latest.has(channel)) this.#drop(channel, relay);
    }
  }

  /** Whether a frame of this channel is ours. */
  has(channel: string): boolean {
    return !this.#closed && this.#relays.has(channel);
  }

  /**
   * Takes a frame of one of our channels that came from `source`, by tunnel or not; it is valid only
   * during the call. One that did not come from the relaying server is dropped.
   */
  receive(frame: RelayFrame, source: Address, tunnelled: boolean): void {
    const relay = this.#relays.get(frame.channel);
    const route = relay?.routes.find(
      (each) => (each.tunnel !== undefined) === tunnelled && sameAddress(each.address, source),
    );
    if (relay === undefined || route === undefined) return;
    this.#step(relay, { type: 'frame', frame, route });
    if (frame.type === 'data') this.#options.events.received(frame.payload, relay.remote);
  }

  /** Sends a datagram over the relay that `remote` stands for; false where there is none. */
  send(payload: Uint8Array, remote: Address): boolean {
    const relay = this.#at(remote);
    const route = relay?.binding.route;
    if (relay === undefined || route === undefined) return false;
    route.send(encodeRelayFrame({ type: 'data', channel: relay.offer.channel, payload }));
    return true;
  }

  /** Where the server is that `remote` stands for. */
  serverAt(remote: Address): Address | undefined {
    const relay = this.#at(remote);
    return (relay?.binding.route ?? relay?.routes[0])?.address;
  }

  /** Whether the relays are, or may soon be, in use: only then are they held open. */
  want(wanted: boolean): void {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    for (const relay of this.#relays.values()) this.#step(relay, { type: 'wanted', wanted });
  }

  networkChanged(): void {
    for (const relay of this.#relays.values()) this.#step(relay, { type: 'network-changed' });
  }

  close(): void {
    this.#closed = true;
    for (const { alarm } of this.#relays.values()) alarm.cancel();
  }

  #add(offer: RelayOffer): void {
    const routes = this.#options.routesTo(offer);
    if (routes.length === 0) return;
    const { clock } = this.#options;
    const { channel, key } = offer;
    const relay: Relay = {
      offer,
      // Never the address of one that is gone: what comes late for it is not this one's.
      remote: relayAddress(++this.#lastIndex % 255),
      binding: new RelayBinding({ channel, key, routes }, clock.now()),
      routes,
      alarm: new Alarm(clock, () => this.#step(relay, { type: 'tick' })),
    };
    this.#relays.set(channel, relay);
    this.#step(relay, { type: 'wanted', wanted: this.#wanted });
  }

  /** Whether it was bound by a tunnel that this peer has left since. */
  #isStale({ offer, routes }: Relay): boolean {
    const [first] = routes;
    if (first?.tunnel === undefined) return false;
    return this.#options.routesTo(offer).every(({ tunnel }) => tunnel !== first.tunnel);
  }

  #drop(channel: string, relay: Relay): void {
    relay.alarm.cancel();
    this.#relays.delete(channel);
    this.#options.events.closed(relay.remote);
  }

  #at(remote: Address): Relay | undefined {
    return [...this.#relays.values()].find((relay) => sameAddress(relay.remote, remote));
  }

  #step(relay: Relay, input: RelayBindingInput<RelayRoute>): void {
    const { clock, events } = this.#options;
    const { binding, remote } = relay;
    for (const effect of binding.step(input, clock.now())) {
      if (effect.type === 'send') effect.route.send(effect.datagram);
      else if (effect.type === 'opened') events.opened(remote);
      else if (effect.type === 'closed') events.closed(remote);
      else events.limited(effect.limit);
    }
    relay.alarm.set(this.#closed ? undefined : binding.nextDeadline());
  }
}
