import { type Address, sameAddress } from '../base/address.ts';
import type { Fault } from '../rpc/generated/chatty/v1/common.ts';
import {
  PeerToServer,
  type ServerToPeer,
  type WishUpdate,
} from '../rpc/generated/chatty/v1/rendezvous.ts';
import { OWN_PROTOCOL } from '../rpc/protocol.ts';
import { addressToWire } from '../rpc/wire-address.ts';
import type { Admission, NotAdmitted, Release } from './admission.ts';
import { FAULTS, REFUSALS } from './faults.ts';
import type { FirstFlight } from './first-flights.ts';
import { FrameBudget } from './frame-budget.ts';
import {
  admitEndpoint,
  readEndpoint,
  readHello,
  readWish,
  type Sighting,
  type ToldEndpoint,
} from './hello.ts';
import type { Introducer, IntroducerEffect, Moment, Refusal } from './introducer.ts';
import { type IntroductionEffect, Introductions } from './introductions.ts';
import { MAX_WISHES, type RecordKey, type RecordUpdate } from './record.ts';
import { wishToWire } from './record-codec.ts';
import type { RelayServers } from './relay-servers.ts';

export type DeskEffect =
  | IntroductionEffect
  /** Close the connection once everything sent before has gone out. */
  | { readonly type: 'close'; readonly connection: number; readonly reason: string }
  | { readonly type: 'update'; readonly update: RecordUpdate }
  /** For the log. */
  | { readonly type: 'note'; readonly event: DeskEvent; readonly name: string }
  /** A peer is told of a friend for the first time; for the figures. */
  | { readonly type: 'introduced'; readonly namedAt: number };

export type DeskEvent = 'registered' | 'left' | `refused: ${Refusal | NotAdmitted}`;

export interface DeskOptions {
  readonly serverId: string;
  readonly introducer: Introducer;
  /** The address a STUN cookie of this server proves. */
  readonly checkCookie: (cookie: Uint8Array, now: number) => Address | undefined;
  readonly admission: Admission;
  /** Default: nobody relays. */
  readonly relays?: RelayServers;
}

/** First flights in one hello. */
const MAX_FLIGHTS = 4;
/**
 * So many milliseconds a peer have those who are to look after another server: if it is gone they all
 * register anew, which costs servers some 2 ms each.
 */
const DOUBT_MS_PER_PEER = 2;
/** A stream that breaks again and again makes nobody look more often. */
const DOUBT_EVERY_MS = 5_000;
/** How long a connection may stay without a hello. */
const HELLO_WITHIN_MS = 5_000;

interface Conversation {
  readonly connection: number;
  sighting: Sighting;
  readonly budget: FrameBudget;
  readonly helloBy: number;
  /** Undefined until the hello was accepted. */
  registered: Registered | undefined;
}

interface Registered {
  readonly registration: number;
  readonly name: string;
  told: ToldEndpoint;
  readonly release: Release;
}

/**
 * The conversations with the peers connected here: frames in, frames out, in between the
 * introducer. A fault is told and ends the conversation.
 */
export class PeerDesk {
  readonly #options: DeskOptions;
  readonly #conversations = new Map<number, Conversation>();
  readonly #byRegistration = new Map<number, Conversation>();
  /** In the order of their deadlines. */
  readonly #silent = new Set<Conversation>();
  readonly #introductions: Introductions;
  /** Of which servers it was told lately that they may be gone, and when. */
  readonly #doubted = new Map<string, number>();
  #phase: 'starting' | 'serving' | 'draining' = 'starting';

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#introductions = new Introductions({
      ...options,
      connectionOf: (registration) => this.#byRegistration.get(registration)?.connection,
    });
  }

  /** How many peers are registered. */
  get registered(): number {
    return this.#byRegistration.size;
  }

  /** When `tick` has something to do. */
  nextDeadline(): number | undefined {
    const [first] = this.#silent;
    return first?.helloBy;
  }

  opened(connection: number, sighting: Sighting, { now }: Moment): void {
    const conversation: Conversation = {
      connection,
      sighting,
      budget: new FrameBudget(now),
      helloBy: now + HELLO_WITHIN_MS,
      registered: undefined,
    };
    this.#conversations.set(connection, conversation);
    this.#silent.add(conversation);
  }

  /** The connection is gone, and with it the peer's record. */
  closed(connection: number, at: Moment): readonly DeskEffect[] {
    const conversation = this.#conversations.get(connection);
    return conversation === undefined ? [] : this.#end(conversation, at);
  }

  tick(at: Moment): readonly DeskEffect[] {
    const effects: DeskEffect[] = [];
    for (const conversation of this.#silent) {
      if (conversation.helloBy > at.now) break;
      effects.push(...this.#refuse(conversation, FAULTS.lateHello, at));
    }
    return effects;
  }

  /** One frame of the peer's, without its length. */
  frame(connection: number, bytes: Uint8Array, at: Moment): readonly DeskEffect[] {
    const conversation = this.#conversations.get(connection);
    if (conversation === undefined) return [];
    if (!conversation.budget.take(at.now)) return this.#refuse(conversation, FAULTS.tooFast, at);
    let kind: PeerToServer['kind'];
    try {
      ({ kind } = PeerToServer.decode(bytes));
    } catch {
      return this.#refuse(conversation, FAULTS.notAFrame, at);
    }
    // A frame of a later version.
    if (kind === undefined) return [];
    const { registered } = conversation;
    if (registered === undefined) {
      return kind.$case === 'hello'
        ? this.#hello(conversation, kind.value, at)
        : this.#refuse(conversation, FAULTS.helloFirst, at);
    }
    switch (kind.$case) {
      case 'hello':
        return this.#refuse(conversation, FAULTS.helloFirst, at);
      case 'wish':
        return this.#wish(conversation, registered, kind.value, at);
      case 'endpoint': {
        const { endpoint, stunCookies } = kind.value;
        const told = readEndpoint(endpoint, stunCookies, this.#cookieCheck(at));
        if (told === undefined) return this.#refuse(conversation, FAULTS.badEndpoint, at);
        registered.told = told;
        return this.#moved(conversation, at);
      }
      case 'leave':
        return [...this.#end(conversation, at), { type: 'close', connection, reason: 'goodbye' }];
    }
  }

  /** What the peer sent cannot be cut into frames. */
  garbled(connection: number, at: Moment): readonly DeskEffect[] {
    const conversation = this.#conversations.get(connection);
    return conversation === undefined ? [] : this.#refuse(conversation, FAULTS.notAFrame, at);
  }

  /** The peer's connection now comes from another address (a NAT has rebound it). */
  sighted(connection: number, source: Address, at: Moment): readonly DeskEffect[] {
    const conversation = this.#conversations.get(connection);
    const before = conversation?.sighting.source;
    if (conversation === undefined || before === undefined || sameAddress(before, source))
      return [];
    conversation.sighting = { ...conversation.sighting, source };
    return this.#moved(conversation, at);
  }

  /** Runs effects of the introducer that another server's news had. */
  introduced(effects: readonly IntroducerEffect[], at: Moment): readonly DeskEffect[] {
    const told = effects.flatMap((effect) => this.#translate(effect, at));
    // A friend here who is not told of the peer just now was so before.
    const late = effects.flatMap((effect) => {
      if (effect.type !== 'push') return [];
      const own = this.#options.introducer.recordOf(effect.registration);
      return own === undefined ? [] : this.#introductions.remind(own, effect.match.friend, at.now);
    });
    return [...told, ...late];
  }

  /** Another server passes on the first flight of a peer that is registered there. */
  passed(server: string, from: RecordKey, flight: FirstFlight, at: Moment): readonly DeskEffect[] {
    return this.#introductions.passed(server, from, flight, at.now);
  }

  /** From now on peers are registered. */
  serve(): void {
    if (this.#phase === 'starting') this.#phase = 'serving';
  }

  /** From now on nobody is registered, and those who are here are told to move. */
  drain(deadlineMs: number): readonly DeskEffect[] {
    this.#phase = 'draining';
    return [...this.#byRegistration.values()].map(({ connection }) => ({
      type: 'send',
      connection,
      frame: { kind: { $case: 'move', value: { deadlineMs } } },
    }));
  }

  /** Another server may be gone: who is registered there too is to look, and to replace it if so. */
  doubt(server: string, { now }: Moment): readonly DeskEffect[] {
    for (const [id, at] of this.#doubted) {
      if (now - at >= DOUBT_EVERY_MS) this.#doubted.delete(id);
    }
    if (this.#doubted.has(server)) return [];
    this.#doubted.set(server, now);
    const shared = this.#options.introducer.sharedWith(server);
    const value = { serverId: server, withinMs: shared.length * DOUBT_MS_PER_PEER };
    return shared.flatMap((registration): DeskEffect[] => {
      const connection = this.#byRegistration.get(registration)?.connection;
      if (connection === undefined) return [];
      return [{ type: 'send', connection, frame: { kind: { $case: 'serverDoubt', value } } }];
    });
  }

  #hello(
    conversation: Conversation,
    hello: Parameters<typeof readHello>[0],
    at: Moment,
  ): readonly DeskEffect[] {
    const { introducer, serverId, admission } = this.#options;
    if (this.#phase !== 'serving') return this.#refuse(conversation, FAULTS[this.#phase], at);
    const { connection, sighting } = conversation;
    const read = readHello(hello, sighting, this.#cookieCheck(at));
    if ('fault' in read) return this.#refuse(conversation, read.fault, at);
    const { name } = read.claim;
    const release = admission.admit(sighting.source, at.now);
    if (typeof release === 'string') return this.#notRegistered(conversation, release, name, at);
    for (const wire of hello.firstFlights.slice(0, MAX_FLIGHTS)) {
      this.#introductions.keep(read.claim, wire, at.now);
    }
    const result = introducer.register(read.claim, at);
    if ('refused' in result) {
      release();
      return this.#notRegistered(conversation, result.refused, name, at);
    }
    const { registration, effects } = result;
    this.#silent.delete(conversation);
    conversation.registered = { registration, name, told: read.told, release };
    this.#byRegistration.set(registration, conversation);
    const welcome: ServerToPeer = {
      kind: {
        $case: 'welcome',
        value: {
          protocol: OWN_PROTOCOL,
          serverId,
          observed: sighting.source === undefined ? undefined : addressToWire(sighting.source),
        },
      },
    };
    return [
      { type: 'send', connection, frame: welcome },
      { type: 'note', event: 'registered', name },
      ...this.introduced(effects, at),
    ];
  }

  #notRegistered(
    conversation: Conversation,
    why: Refusal | NotAdmitted,
    name: string,
    at: Moment,
  ): readonly DeskEffect[] {
    const refusal = this.#refuse(conversation, REFUSALS[why], at);
    return [...refusal, { type: 'note', event: `refused: ${why}`, name }];
  }

  #wish(
    conversation: Conversation,
    { registration, name }: { readonly registration: number; readonly name: string },
    update: WishUpdate,
    at: Moment,
  ): readonly DeskEffect[] {
    const { introducer } = this.#options;
    const wish = readWish(update.wish, name);
    if ('fault' in wish) return this.#refuse(conversation, wish.fault, at);
    if (update.withdraw) {
      return this.introduced(introducer.withdraw(registration, wish.friend, at), at);
    }
    const own = introducer.recordOf(registration);
    const wishes = own?.wishes;
    if (wishes !== undefined && wishes.size >= MAX_WISHES && !wishes.has(wish.friend)) {
      return this.#refuse(conversation, FAULTS.tooManyWishes, at);
    }
    if (own !== undefined) this.#introductions.keep(own, update.firstFlight, at.now);
    const accepted: ServerToPeer = {
      kind: { $case: 'wishAccepted', value: { wish: wishToWire(wish) } },
    };
    return [
      { type: 'send', connection: conversation.connection, frame: accepted },
      ...this.introduced(introducer.wish(registration, wish, at), at),
    ];
  }

  #moved({ registered, sighting }: Conversation, at: Moment): readonly DeskEffect[] {
    if (registered === undefined) return [];
    const { introducer } = this.#options;
    const { endpoint, loopback } = admitEndpoint(registered.told, sighting);
    return this.introduced(introducer.move(registered.registration, endpoint, loopback, at), at);
  }

  #cookieCheck({ now }: Moment): (cookie: Uint8Array) => Address | undefined {
    return (cookie) => this.#options.checkCookie(cookie, now);
  }

  #refuse(conversation: Conversation, fault: Fault, at: Moment): readonly DeskEffect[] {
    const { connection } = conversation;
    return [
      { type: 'send', connection, frame: { kind: { $case: 'error', value: fault } } },
      { type: 'close', connection, reason: fault.code },
      ...this.#end(conversation, at),
    ];
  }

  #end(conversation: Conversation, at: Moment): readonly DeskEffect[] {
    const { registered } = conversation;
    this.#conversations.delete(conversation.connection);
    this.#silent.delete(conversation);
    if (registered === undefined) return [];
    this.#byRegistration.delete(registered.registration);
    registered.release();
    return [
      { type: 'note', event: 'left', name: registered.name },
      ...this.introduced(this.#options.introducer.leave(registered.registration, at), at),
    ];
  }

  #translate(effect: IntroducerEffect, at: Moment): readonly DeskEffect[] {
    if (effect.type === 'update') return [effect];
    const conversation = this.#byRegistration.get(effect.registration);
    if (conversation === undefined) return [];
    const { connection } = conversation;
    switch (effect.type) {
      case 'push': {
        const { registration, match, namedAt } = effect;
        const effects = this.#introductions.tell(registration, match, at.now);
        return namedAt === undefined ? effects : [...effects, { type: 'introduced', namedAt }];
      }
      case 'conflict': {
        const value = { wish: wishToWire(effect.wish), heldBy: Buffer.from(effect.heldBy, 'hex') };
        return [{ type: 'send', connection, frame: { kind: { $case: 'wishConflict', value } } }];
      }
      case 'dismiss': {
        // The introducer has forgotten the registration already.
        this.#byRegistration.delete(effect.registration);
        this.#conversations.delete(connection);
        conversation.registered?.release();
        const close: DeskEffect = { type: 'close', connection, reason: effect.reason };
        if (effect.reason === 'superseded') return [close];
        const value = REFUSALS[effect.reason];
        return [{ type: 'send', connection, frame: { kind: { $case: 'error', value } } }, close];
      }
    }
  }
}
