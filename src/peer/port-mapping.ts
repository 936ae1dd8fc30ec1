import { type Address, sameAddress } from '../base/address.ts';
import {
  type MappedPort,
  natPmpAddressRequest,
  natPmpMapRequest,
  pcpMapRequest,
  type PortControlAnswer,
} from './port-control-message.ts';

/** A port of a gateway that leads to ours. */
export interface RouterMapping {
  /** What the gateway was asked in. */
  readonly protocol: 'pcp' | 'nat-pmp' | 'upnp';
  /** As the gateway says; behind a second router it is not what the world sees. */
  readonly external: Address;
}

export type PortMappingInput =
  | { readonly type: 'begin' }
  | { readonly type: 'answer'; readonly answer: PortControlAnswer }
  /** The gateway speaks UPnP. */
  | { readonly type: 'igd-found'; readonly location: string }
  | { readonly type: 'igd-mapped'; readonly external: Address; readonly lifetimeMs: number }
  | { readonly type: 'igd-failed' }
  | { readonly type: 'tick' };

export type PortMappingEffect =
  /** To the gateway, where PCP and NAT-PMP are spoken. */
  | { readonly type: 'send'; readonly datagram: Uint8Array }
  /** Looks for UPnP. */
  | { readonly type: 'search' }
  | {
      readonly type: 'igd-map';
      readonly location: string;
      readonly externalPort: number;
      readonly lifetimeMs: number;
    }
  | { readonly type: 'igd-unmap'; readonly location: string; readonly externalPort: number }
  /** Another one than before, or none any more. */
  | { readonly type: 'mapped'; readonly mapping: RouterMapping | undefined }
  /** Nothing is waited for now: answers that come are not wanted. */
  | { readonly type: 'settled' };

/** What is asked for: RFC 6886 §3.3 has twice as much, but nothing takes back what a killed one held. */
const LIFETIME_MS = 3_600_000;
/** From one question to its repetition: far more than any gateway's answer takes. */
const ASK_AT_MS = [0, 100] as const;
/** By then a gateway that speaks PCP or NAT-PMP has said so; else it is asked by UPnP. */
const CONTROL_MS = 250;
/** A search by UPnP is answered within a second (MX). */
const SEARCH_MS = 1_500;
/** Whoever answered it is asked three questions or more. */
const ROUND_MS = 4_000;
/** However short a lease, it is renewed no more often. */
const MIN_RENEW_MS = 30_000;

interface Round {
  readonly startedAt: number;
  /** Questions sent, of `ASK_AT_MS`. */
  asked: number;
  pcpRefused: boolean;
  natPmpRefused: boolean;
  /** What NAT-PMP says is the external address. */
  host: string | undefined;
  /** PCP and NAT-PMP are not spoken. */
  controlOver: boolean;
  igd: { readonly location: string; asked: boolean } | undefined;
}

interface Held extends RouterMapping {
  readonly location: string | undefined;
  readonly renewAt: number;
  readonly expiresAt: number;
}

/**
 * Asks one gateway for a port that leads to ours, and keeps it: by PCP, else by NAT-PMP, else by UPnP.
 * The first two are asked at once, so that a gateway that speaks neither costs 250 ms. A gateway that
 * gives nothing is not asked again. Pure.
 */
export class PortMapping {
  readonly #port: MappedPort;
  #round: Round | undefined;
  #held: Held | undefined;

  constructor(port: MappedPort) {
    this.#port = port;
  }

  /** When to step next, if nothing happens before. */
  get nextDeadline(): number {
    const round = this.#round;
    const next =
      round === undefined
        ? (this.#held?.renewAt ?? Infinity)
        : round.startedAt + (ASK_AT_MS[round.asked] ?? lastsMs(round));
    return Math.min(next, this.#held?.expiresAt ?? Infinity);
  }

  step(input: PortMappingInput, now: number): readonly PortMappingEffect[] {
    switch (input.type) {
      case 'begin':
        return this.#begin(now);
      case 'tick':
        return this.#tick(now);
      case 'answer':
        return this.#answered(input.answer, now);
      case 'igd-found':
        if (this.#round === undefined || this.#round.igd !== undefined) return [];
        this.#round.igd = { location: input.location, asked: false };
        return this.#askIgd();
      case 'igd-mapped': {
        const igd = this.#round?.igd;
        if (igd?.asked !== true) return [];
        const { external, lifetimeMs } = input;
        return this.#mapped({ protocol: 'upnp', external }, lifetimeMs, now, igd.location);
      }
      case 'igd-failed':
        return this.#round?.igd?.asked === true ? this.#fail(now) : [];
    }
  }

  /** Gives the port back: what to do, once, when nothing more is asked. */
  release(): readonly PortMappingEffect[] {
    const held = this.#held;
    this.#round = undefined;
    this.#held = undefined;
    if (held === undefined) return [];
    const { external, location } = held;
    switch (held.protocol) {
      case 'pcp':
        return [{ type: 'send', datagram: pcpMapRequest(this.#port, external, 0) }];
      case 'nat-pmp':
        return [{ type: 'send', datagram: natPmpMapRequest(this.#port.port, 0, 0) }];
      case 'upnp':
        if (location === undefined) return [];
        return [{ type: 'igd-unmap', location, externalPort: external.port }];
    }
  }

  #begin(now: number): readonly PortMappingEffect[] {
    this.#round = {
      startedAt: now,
      asked: 0,
      pcpRefused: false,
      natPmpRefused: false,
      host: undefined,
      controlOver: false,
      igd: undefined,
    };
    return this.#tick(now);
  }

  #tick(now: number): readonly PortMappingEffect[] {
    const lapsed = this.#lapse(now);
    const round = this.#round;
    if (round === undefined) {
      const isDue = this.#held !== undefined && now >= this.#held.renewAt;
      return isDue ? this.#begin(now) : lapsed;
    }
    const passedMs = now - round.startedAt;
    if (passedMs >= CONTROL_MS && !round.controlOver) {
      return [...lapsed, ...this.#controlOver()];
    }
    if (passedMs >= lastsMs(round)) return [...lapsed, ...this.#fail(now)];
    if (passedMs < (ASK_AT_MS[round.asked] ?? Infinity)) return lapsed;
    round.asked++;
    const search = round.igd === undefined ? ([{ type: 'search' }] as const) : [];
    return [...lapsed, ...search, ...(round.controlOver ? [] : this.#ask(round))];
  }

  /** What has not been refused yet; NAT-PMP maps only where PCP has had its turn. */
  #ask({ asked, pcpRefused, natPmpRefused, host }: Round): PortMappingEffect[] {
    const suggested = this.#suggested;
    const effects: PortMappingEffect[] = [];
    const send = (datagram: Uint8Array): void => void effects.push({ type: 'send', datagram });
    if (!pcpRefused) send(pcpMapRequest(this.#port, suggested, LIFETIME_MS));
    if (natPmpRefused) return effects;
    if (host === undefined) send(natPmpAddressRequest());
    else if (pcpRefused || asked > 1) {
      send(natPmpMapRequest(this.#port.port, suggested.port, LIFETIME_MS));
    }
    return effects;
  }

  #answered(answer: PortControlAnswer, now: number): readonly PortMappingEffect[] {
    const round = this.#round;
    if (round === undefined || round.controlOver) return [];
    switch (answer.kind) {
      case 'pcp-mapped':
        return this.#mapped({ protocol: 'pcp', external: answer.external }, answer.lifetimeMs, now);
      case 'pcp-refused': {
        if (round.pcpRefused) return [];
        round.pcpRefused = true;
        if (round.natPmpRefused) return this.#controlOver();
        return round.host === undefined ? [] : this.#ask(round);
      }
      case 'nat-pmp-address':
        if (round.host !== undefined) return [];
        round.host = answer.host;
        return round.pcpRefused ? this.#ask(round) : [];
      case 'nat-pmp-mapped': {
        if (round.host === undefined) return [];
        const external = { host: round.host, port: answer.port };
        return this.#mapped({ protocol: 'nat-pmp', external }, answer.lifetimeMs, now);
      }
      case 'nat-pmp-refused':
        round.natPmpRefused = true;
        return round.pcpRefused ? this.#controlOver() : [];
    }
  }

  #controlOver(): readonly PortMappingEffect[] {
    if (this.#round !== undefined) this.#round.controlOver = true;
    return this.#askIgd();
  }

  #askIgd(): readonly PortMappingEffect[] {
    const igd = this.#round?.igd;
    if (igd === undefined || igd.asked || this.#round?.controlOver !== true) return [];
    igd.asked = true;
    const { location } = igd;
    const { port: externalPort } = this.#suggested;
    return [{ type: 'igd-map', location, externalPort, lifetimeMs: LIFETIME_MS }];
  }

  #mapped(
    mapping: RouterMapping,
    lifetimeMs: number,
    now: number,
    location?: string,
  ): readonly PortMappingEffect[] {
    const before = this.#held;
    this.#round = undefined;
    // Half of it (RFC 6887 §11.2.1), and of no more than was asked for, whatever the gateway says.
    const lastsMs = Math.min(lifetimeMs, LIFETIME_MS);
    this.#held = {
      ...mapping,
      location,
      renewAt: now + Math.max(lastsMs / 2, MIN_RENEW_MS),
      expiresAt: now + lastsMs,
    };
    const isSame =
      before?.protocol === mapping.protocol && sameAddress(before.external, mapping.external);
    return [...(isSame ? [] : [{ type: 'mapped', mapping } as const]), { type: 'settled' }];
  }

  /** The gateway gives nothing now; what is held stays until it lapses. */
  #fail(now: number): readonly PortMappingEffect[] {
    this.#round = undefined;
    if (this.#held !== undefined) {
      const leftMs = this.#held.expiresAt - now;
      this.#held = { ...this.#held, renewAt: now + Math.max(leftMs / 2, MIN_RENEW_MS) };
    }
    return [{ type: 'settled' }];
  }

  #lapse(now: number): readonly PortMappingEffect[] {
    if (this.#held === undefined || now < this.#held.expiresAt) return [];
    this.#held = undefined;
    return [{ type: 'mapped', mapping: undefined }];
  }

  get #suggested(): Address {
    return this.#held?.external ?? { host: '0.0.0.0', port: this.#port.port };
  }
}

/** When the part of a round that runs is over, from its start. */
function lastsMs({ controlOver, igd }: Round): number {
  if (!controlOver) return CONTROL_MS;
  return igd === undefined ? SEARCH_MS : ROUND_MS;
}
