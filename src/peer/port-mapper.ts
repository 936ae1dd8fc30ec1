import { createSocket, type Socket } from 'node:dgram';
import { type Address, sameAddress } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import type { Gateway } from './default-gateway.ts';
import { mapByIgd, unmapByIgd } from './igd-client.ts';
import { readSearchAnswer, searchRequests } from './igd-message.ts';
import { type MappedPort, NONCE_BYTES, readPortControlAnswer } from './port-control-message.ts';
import {
  PortMapping,
  type PortMappingEffect,
  type PortMappingInput,
  type RouterMapping,
} from './port-mapping.ts';

/** What a gateway answers by UPnP takes some 10 ms; a slow one must not hold anything for long. */
const IGD_MS = 3_000;
/** A program that ends waits no longer for its gateway. */
const RELEASE_MS = 500;

export interface PortMapperOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  findGateway(): Promise<Gateway | undefined>;
  /** A port of the gateway leads to ours, or none does any more. */
  mapped(mapping: RouterMapping | undefined): void;
  /** The gateway has given what it gives, for now. */
  settled?(): void;
}

/** One gateway that is asked. */
interface Talk {
  readonly gateway: Gateway;
  readonly port: MappedPort;
  readonly mapping: PortMapping;
  /** Open while answers are waited for. */
  socket: Socket | undefined;
  readonly alarm: Alarm;
  readonly abort: AbortController;
}

/**
 * Has the router before this computer lead a port of its own to ours, for as long as this lives. Nobody
 * waits for it, and whatever the router does, nothing is thrown.
 */
export class PortMapper {
  readonly #options: PortMapperOptions;
  #port: number | undefined;
  #talk: Talk | undefined;
  /** Counts the searches for a gateway: only the last one counts. */
  #searches = 0;
  #closed = false;

  constructor(options: PortMapperOptions) {
    this.#options = options;
  }

  /** Asks for UDP `port` of this computer; the first call counts. */
  begin(port: number): void {
    if (this.#port !== undefined || this.#closed) return;
    this.#port = port;
    void this.#start(port);
  }

  /** This computer may be behind another router, or the router may have forgotten it. */
  networkChanged(): void {
    if (this.#port !== undefined && !this.#closed) void this.#start(this.#port);
  }

  /** Gives the port back, which takes half a second at most. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const talk = this.#leave();
    const [effect] = talk?.mapping.release() ?? [];
    if (talk === undefined || effect === undefined) return;
    const late = new AbortController();
    const timer = this.#options.clock.setTimer(RELEASE_MS, () => late.abort());
    await giveBack(talk, effect, late.signal).catch(() => undefined);
    timer.cancel();
  }

  async #start(port: number): Promise<void> {
    const search = ++this.#searches;
    const gateway = await this.#options.findGateway().catch(() => undefined);
    if (this.#closed || search !== this.#searches) return;
    if (gateway === undefined || !isSame(this.#talk?.gateway, gateway)) {
      // The one before is out of reach: what it gave lapses by itself.
      if (this.#leave() !== undefined) this.#options.mapped(undefined);
      if (gateway === undefined) {
        this.#options.settled?.();
        return;
      }
      const asked = { own: gateway.own, port, nonce: this.#options.random.bytes(NONCE_BYTES) };
      const talk: Talk = {
        ...{ gateway, port: asked, mapping: new PortMapping(asked) },
        ...{ socket: undefined, abort: new AbortController() },
        alarm: new Alarm(this.#options.clock, () => this.#step(talk, { type: 'tick' })),
      };
      this.#talk = talk;
    }
    if (this.#talk !== undefined) this.#step(this.#talk, { type: 'begin' });
  }

  /** Stops asking; what is mapped stays so. */
  #leave(): Talk | undefined {
    const talk = this.#talk;
    this.#talk = undefined;
    talk?.alarm.cancel();
    talk?.abort.abort();
    if (talk !== undefined) hangUp(talk);
    return talk;
  }

  #step(talk: Talk, input: PortMappingInput): void {
    if (this.#talk !== talk) return;
    const { clock } = this.#options;
    for (const effect of talk.mapping.step(input, clock.now())) this.#act(talk, effect);
    talk.alarm.set(talk.mapping.nextDeadline);
  }

  #act(talk: Talk, effect: PortMappingEffect): void {
    switch (effect.type) {
      case 'send':
        send(this.#socketOf(talk), effect.datagram, talk.gateway.control);
        return;
      case 'search':
        for (const to of talk.gateway.discovery) {
          for (const datagram of searchRequests()) send(this.#socketOf(talk), datagram, to);
        }
        return;
      case 'igd-map':
        void this.#mapByIgd(talk, effect);
        return;
      case 'mapped':
        this.#options.logger.debug('port mapping', { by: effect.mapping?.protocol ?? 'none' });
        this.#options.mapped(effect.mapping);
        return;
      case 'settled':
        hangUp(talk);
        this.#options.settled?.();
        return;
      // Only when a port is given back: see `giveBack`.
      case 'igd-unmap':
    }
  }

  async #mapByIgd(
    talk: Talk,
    { location, externalPort, lifetimeMs }: Extract<PortMappingEffect, { type: 'igd-map' }>,
  ): Promise<void> {
    const { clock, random } = this.#options;
    const { own, port } = talk.port;
    const late = new AbortController();
    const timer = clock.setTimer(IGD_MS, () => late.abort());
    const igd = { location, own, signal: AbortSignal.any([late.signal, talk.abort.signal]) };
    try {
      const external = await mapByIgd(igd, { port, externalPort, lifetimeMs }, random);
      this.#step(talk, { type: 'igd-mapped', external, lifetimeMs });
    } catch {
      this.#step(talk, { type: 'igd-failed' });
    } finally {
      timer.cancel();
    }
  }

  #socketOf(talk: Talk): Socket {
    if (talk.socket !== undefined) return talk.socket;
    const { control } = talk.gateway;
    const socket = openSocket(talk.port.own);
    talk.socket = socket;
    socket.on('message', (datagram, { address, port }) => {
      // Only the gateway is heard.
      if (address !== control.host || talk.socket !== socket) return;
      if (port === control.port) {
        const answer = readPortControlAnswer(datagram, talk.port);
        if (answer !== undefined) this.#step(talk, { type: 'answer', answer });
      } else {
        const location = readSearchAnswer(datagram, control.host);
        if (location !== undefined) this.#step(talk, { type: 'igd-found', location });
      }
    });
    return socket;
  }
}

function openSocket(own: string): Socket {
  const socket = createSocket('udp4');
  // An address that is gone, a network that is down: nobody answers, and that is all.
  socket.on('error', () => undefined);
  socket.once('listening', () => {
    try {
      socket.setMulticastInterface(own);
    } catch {
      // The gateway itself is searched for as well.
    }
  });
  socket.bind({ address: own, port: 0 });
  return socket;
}

function send(socket: Socket, datagram: Uint8Array, { host, port }: Address): void {
  socket.send(datagram, port, host, () => undefined);
}

function hangUp(talk: Talk): void {
  try {
    talk.socket?.close();
  } catch {
    // It could not be bound.
  }
  talk.socket = undefined;
}

/** Resolves when the gateway was told, which UDP does not confirm. */
async function giveBack(talk: Talk, effect: PortMappingEffect, signal: AbortSignal): Promise<void> {
  if (effect.type === 'igd-unmap') {
    const { location, externalPort } = effect;
    await unmapByIgd({ location, own: talk.port.own, signal }, externalPort);
  } else if (effect.type === 'send') {
    const { host, port } = talk.gateway.control;
    const socket = openSocket(talk.port.own);
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      socket.send(effect.datagram, port, host, () => resolve());
    });
    socket.close();
  }
}

function isSame(one: Gateway | undefined, other: Gateway): boolean {
  return one !== undefined && one.own === other.own && sameAddress(one.control, other.control);
}
