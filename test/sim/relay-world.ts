import { type Address, sameAddress } from '../../src/base/address.ts';
import { parseStun } from '../../src/path/index.ts';
import { relayAddress } from '../../src/path/relay-address.ts';
import { RelayBinding, type RelayBindingInput } from '../../src/path/relay-binding.ts';
import { encodeRelayFrame, readRelayFrame, setRelayChannel } from '../../src/path/relay-frame.ts';
import type { SimulatedNetwork, Site } from './nat-network.ts';
import { type SimulatedPeer, twoHomes, type World } from './path-world.ts';

const CHANNELS = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb'] as const;
const KEY = new Uint8Array(16);

/** A server that relays between the two sides of one pair: who binds is believed. */
class SimulatedRelay {
  readonly address: Address;
  up = true;
  relayed = 0;
  readonly #network: SimulatedNetwork;
  readonly #site: Site = { nat: undefined, delayMs: 20 };
  readonly #bound = new Map<string, Address>();

  constructor(network: SimulatedNetwork, host: string) {
    this.address = { host, port: 4433 };
    this.#network = network;
    network.attach(this.address, this.#site, (datagram, from) => this.#receive(datagram, from));
  }

  #receive(datagram: Uint8Array, from: Address): void {
    const frame = readRelayFrame(datagram);
    if (frame === undefined || !this.up) return;
    const { channel } = frame;
    const other = CHANNELS.find((each) => each !== channel) ?? channel;
    const friend = this.#bound.get(other);
    if (frame.type === 'bind') {
      this.#bound.set(channel, from);
      this.#send(
        encodeRelayFrame({ type: 'bound', channel, friendBound: friend !== undefined }),
        from,
      );
    } else if (frame.type === 'data' && friend !== undefined) {
      const source = this.#bound.get(channel);
      if (source === undefined || !sameAddress(source, from)) return;
      this.relayed++;
      const passed = Uint8Array.from(datagram);
      setRelayChannel(passed, other);
      this.#send(passed, friend);
    }
  }

  #send(datagram: Uint8Array, to: Address): void {
    this.#network.send(this.address, this.#site, to, datagram);
  }
}

/** One peer's side of a relay: the thinnest of shells around a binding. */
class RelaySide {
  readonly #peer: SimulatedPeer;
  readonly #network: SimulatedNetwork;
  readonly #relay: SimulatedRelay;
  readonly #binding: RelayBinding<Address>;
  readonly #remote = relayAddress(0);
  #alarm = 0;

  constructor(
    peer: SimulatedPeer,
    network: SimulatedNetwork,
    relay: SimulatedRelay,
    channel: string,
  ) {
    this.#peer = peer;
    this.#network = network;
    this.#relay = relay;
    const options = { channel, key: KEY, routes: [relay.address] };
    this.#binding = new RelayBinding(options, network.now);
    peer.relay = this;
    this.step({ type: 'tick' });
  }

  step(input: RelayBindingInput<Address>): void {
    for (const effect of this.#binding.step(input, this.#network.now)) {
      if (effect.type === 'send') this.#peer.send(effect.datagram, effect.route);
      else if (effect.type === 'opened') {
        this.#peer.step({ type: 'relay-opened', remote: this.#remote });
      } else if (effect.type === 'closed') {
        this.#peer.step({ type: 'relay-closed', remote: this.#remote });
      }
    }
    const deadline = this.#binding.nextDeadline();
    const alarm = ++this.#alarm;
    if (deadline === undefined) return;
    this.#network.after(deadline - this.#network.now, () => {
      if (alarm === this.#alarm) this.step({ type: 'tick' });
    });
  }

  /** The peer sends over the relay. */
  send(payload: Uint8Array): void {
    const { channel, route } = this.#binding;
    if (route !== undefined)
      this.#peer.send(encodeRelayFrame({ type: 'data', channel, payload }), route);
  }

  receive(datagram: Uint8Array, from: Address): void {
    const frame = readRelayFrame(datagram);
    if (frame === undefined || !sameAddress(from, this.#relay.address)) return;
    this.step({ type: 'frame', frame, route: this.#relay.address });
    if (frame.type !== 'data') return;
    const message = parseStun(frame.payload);
    if (message !== undefined) this.#peer.step({ type: 'stun', message, remote: this.#remote });
    else this.#peer.onWord(Buffer.from(frame.payload).toString(), this.#remote);
  }

  /** As the shell does: the relay is held open where nothing better is known to work. */
  update(): void {
    const path = this.#peer.agent?.selected();
    const wanted = path?.via !== 'udp' || path.checkedAt === undefined;
    this.step({ type: 'wanted', wanted });
  }
}

export interface RelayWorld extends World {
  readonly relay: SimulatedRelay;
}

/** Two homes, and a server that relays between them. */
export function relayedHomes(a: string, b: string, seed: number, loss = 0): RelayWorld {
  const world = twoHomes(a, b, seed, loss);
  return { ...world, relay: new SimulatedRelay(world.network, '198.51.100.9') };
}

/** As `introduce`; each side is told of the relay with its friend. */
export function introduceWithRelay(world: RelayWorld, skewMs = 400): void {
  const { network, alice, bob, relay, random } = world;
  const [first, second] = random.below(2) === 0 ? [alice, bob] : [bob, alice];
  const meet = (peer: SimulatedPeer, friend: SimulatedPeer, channel: string): void => {
    peer.meet(friend);
    new RelaySide(peer, network, relay, channel);
  };
  network.after(0, () => meet(first, second, CHANNELS[0]));
  network.after(random.fraction() * skewMs, () => meet(second, first, CHANNELS[1]));
}
