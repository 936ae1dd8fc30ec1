import type { Address } from '../base/address.ts';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Path } from '../path/index.ts';
import type { QuicConnection } from '../quic/index.ts';
import type { SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import { ConnectionReport, type ReportEvents, type ReportHost } from './connection-report.ts';
import { FriendConnection } from './friend-connection.ts';
import {
  type GreetingParties,
  type GreetingRead,
  helloTo,
  readHello,
  readWelcome,
  welcomeFrom,
} from './friend-greeting.ts';
import type { FriendPath } from './friend-path.ts';
import { errorFromFault } from './registration.ts';
import { type AttemptEvents, type AttemptHost, LinkAttempts } from './link-attempts.ts';
import {
  type ConnectionId,
  type FriendGreeting,
  isAttemptEffect,
  type LinkEffect,
  type LinkInput,
} from './link-events.ts';
import { LinkMachine } from './link-machine.ts';
import type { Match } from './match.ts';

export type FriendFrame = NonNullable<PeerFrame['kind']>;

export interface FriendLinkEvents extends ReportEvents, Pick<AttemptEvents, 'guessing'> {
  matched(match: Match): void;
  /** Frames can be sent to this session from now on. `greeting`: the friend's, if it came already. */
  up(session: SessionId, greeting: FriendGreeting | undefined): void;
  /** The friend's greeting, where it comes after `up`. */
  greeted(greeting: FriendGreeting): void;
  frame(frame: FriendFrame): void;
  /** No frame can be sent until the next `up`. */
  down(): void;
  reconnecting(): void;
  /** The session was given up; the friend is waited for again. */
  disconnected(): void;
  /** It was matched and never reached. */
  unreachable(): void;
  /** The friend said what is wrong. */
  fault(error: ChattyError): void;
  /** What to say of the conversation with this session, and with this number of the friend's. */
  greeting(session: SessionId, friendConversation?: bigint): FriendGreeting;
}

/** What a link needs of the peer it belongs to. */
export interface FriendLinkHost extends AttemptHost, ReportHost {
  readonly clock: Clock;
  readonly ownName: string;
  readonly ownSession: SessionId;
  readonly ownFingerprint: Uint8Array;
  /** Asks the servers again whether the friend is there. */
  renewWish(friend: string): void;
}

/** The link to one friend: carries out what the `LinkMachine` decides. */
export class FriendLink {
  readonly friend: string;
  readonly #host: FriendLinkHost;
  readonly #events: FriendLinkEvents;
  readonly #machine: LinkMachine;
  readonly #attempts: LinkAttempts;
  readonly #report: ConnectionReport;
  readonly #connections = new Map<ConnectionId, FriendConnection>();
  readonly #alarm: Alarm;
  #lastConnection = 0;
  #closed = false;

  constructor(friend: string, host: FriendLinkHost, events: FriendLinkEvents) {
    this.friend = friend;
    this.#host = host;
    this.#alarm = new Alarm(host.clock, () => this.#step({ type: 'tick' }));
    this.#events = events;
    this.#machine = new LinkMachine(host.ownFingerprint);
    this.#report = new ConnectionReport(host, events);
    this.#attempts = new LinkAttempts(friend, host, {
      input: (input) => this.#step(input),
      dialled: (quic) => this.#adopt(quic),
      begun: (match, slot) => {
        if (slot === 'current') this.#report.begin();
        events.matched(match);
      },
      selected: (paths, best) => this.#selected(paths, best),
      notDirect: (match) => this.#report.notDirect(match),
      relayLimited: (limit) => this.#report.relayLimited(limit),
      guessing: (progress) => events.guessing(progress),
    });
  }

  get match(): Match | undefined {
    return this.#machine.match;
  }

  /** The path to this friend between our socket at `local` and `remote`. */
  pathFrom(
    remote: Address,
    local: Address,
  ): { readonly carrier: FriendPath; readonly pathClass: PathClass } | undefined {
    return this.#attempts.pathFrom(remote, local);
  }

  /** Whether a connection came over a path to this friend. */
  isCarrierOf({ carrier }: QuicConnection): boolean {
    return this.#attempts.slotOf(carrier) !== undefined;
  }

  matched(match: Match): void {
    this.#step({ type: 'match', match });
  }

  /** A connection dialled by whoever holds this friend's key, over a path to this friend. */
  accept(quic: QuicConnection): void {
    const { carrier } = quic;
    if (carrier === undefined || !this.isCarrierOf(quic)) {
      quic.close(0, 'the friend has started anew');
    } else this.#attempts.step(carrier, { type: 'accepted', connection: this.#adopt(quic) });
  }

  /** Sends a frame over the connection in use; without one, it is lost. */
  send(frame: FriendFrame): void {
    const { active } = this.#machine;
    if (active !== undefined) this.#connections.get(active)?.send(frame);
  }

  /** A goodbye was said and acknowledged, by either side: this session of the friend's is over. */
  finish(): void {
    this.#step({ type: 'goodbye' });
  }

  /** Closes the connection that carries frames, for the reason given; the link goes on. */
  drop(reason: string): void {
    const { active } = this.#machine;
    if (active !== undefined) this.#refuse(active, reason);
  }

  close(): void {
    this.#step({ type: 'goodbye' });
    this.#closed = true;
    this.#alarm.cancel();
    for (const connection of this.#connections.values()) connection.close('goodbye');
    this.#connections.clear();
    this.#attempts.leave('current');
    this.#attempts.leave('beside');
  }

  #step(input: LinkInput): void {
    if (this.#closed) return;
    const { clock } = this.#host;
    const wasActive = this.#machine.active;
    const effects = this.#machine.step(input, clock.now());
    if (wasActive !== undefined && this.#machine.active === undefined) this.#events.down();
    for (const effect of effects) this.#carryOut(effect);
    this.#alarm.set(this.#machine.nextDeadline());
  }

  #carryOut(effect: LinkEffect): void {
    if (isAttemptEffect(effect)) {
      this.#attempts.carryOut('current', effect);
      return;
    }
    switch (effect.type) {
      case 'beside':
        this.#attempts.carryOut('beside', effect.effect);
        return;
      case 'promote':
        this.#attempts.promote();
        this.#report.begin();
        return;
      case 'ask-again':
        this.#host.renewWish(this.friend);
        return;
      case 'send-hello':
      case 'send-welcome':
        this.#greet(effect);
        return;
      case 'close':
        this.#connections.get(effect.connection)?.close(effect.reason);
        this.#connections.delete(effect.connection);
        return;
      case 'connected':
        this.#report.connected(effect.first, this.#attempts.way);
        return;
      case 'activate':
        this.#events.up(effect.session, effect.greeting);
        this.#repeatAcknowledgement(effect.session);
        return;
      case 'greeted':
        this.#events.greeted(effect.greeting);
        return;
      case 'restored':
        this.#report.restored(this.#attempts.way);
        return;
      case 'reconnecting':
        this.#events.reconnecting();
        this.#host.renewWish(this.friend);
        return;
      case 'disconnected':
        this.#events.disconnected();
        this.#host.renewWish(this.friend);
        return;
      case 'unreachable':
        this.#events.unreachable();
        this.#host.renewWish(this.friend);
        return;
    }
  }

  #greet(effect: Extract<LinkEffect, { type: 'send-hello' | 'send-welcome' }>): void {
    const session = this.#machine.matchOf(effect.connection)?.session;
    if (session === undefined) return;
    const { generation } = effect;
    const isHello = effect.type === 'send-hello';
    const greeting = this.#events.greeting(session, isHello ? undefined : effect.conversation);
    const said = { generation, greeting };
    this.#connections
      .get(effect.connection)
      ?.send(
        isHello
          ? { $case: 'hello', value: helloTo(session, this.#parties, said) }
          : { $case: 'welcome', value: welcomeFrom(this.#host.ownSession, said) },
      );
  }

  get #parties(): GreetingParties {
    const { ownName, ownSession } = this.#host;
    return { ownName, ownSession, friend: this.friend };
  }

  #selected(paths: FriendPath, best: Path): void {
    const carried = [...this.#connections.values()].filter(({ quic }) => quic.carrier === paths);
    for (const { quic } of carried) {
      if (quic.role === 'dialer') quic.selectPath(best.pathClass);
      // What was lost on the way before is sent again with the answer, not when its timer says so.
      quic.ping();
    }
    if (carried.length === 0 || this.#attempts.slotOf(paths) !== 'current') return;
    this.#report.selected(this.#attempts.way);
  }

  /** The one sent on the connection before may be lost with it, and our greeting here be older. */
  #repeatAcknowledgement(session: SessionId): void {
    const { receivedUpTo: number, toConversation } = this.#events.greeting(session);
    if (number > 0n) this.send({ $case: 'acknowledgement', value: { number, toConversation } });
  }

  #adopt(quic: QuicConnection): ConnectionId {
    const id = ++this.#lastConnection;
    const connection = new FriendConnection(quic, {
      frame: (frame) => this.#frame(id, frame),
      closed: () => {
        this.#connections.delete(id);
        this.#step({ type: 'closed', connection: id });
      },
    });
    this.#connections.set(id, connection);
    return id;
  }

  #frame(connection: ConnectionId, frame: FriendFrame): void {
    switch (frame.$case) {
      case 'hello':
        this.#takeGreeting('hello', connection, readHello(frame.value, this.#parties));
        return;
      case 'welcome':
        this.#takeGreeting('welcome', connection, readWelcome(frame.value));
        return;
      case 'error': {
        // Once a connection, so that it cannot be said without end: it is why the friend leaves it.
        const error = errorFromFault(frame.value);
        this.#events.fault(
          new ChattyError(error.code, `the friend's program reports: ${error.message}`),
        );
        this.#refuse(connection, 'the friend reported an error');
        return;
      }
      default:
        if (this.#machine.carries(connection)) this.#events.frame(frame);
    }
  }

  #takeGreeting(type: 'hello' | 'welcome', connection: ConnectionId, read: GreetingRead): void {
    if ('fault' in read) {
      const { fault } = read;
      // The dialer says hello, and is told why nothing comes of it.
      if (type === 'hello')
        this.#connections.get(connection)?.send({ $case: 'error', value: fault });
      this.#events.fault(new ChattyError('CHATTY_VERSION', fault.message));
      this.#refuse(connection, fault.message);
    } else if ('refused' in read) this.#refuse(connection, read.refused);
    else this.#step({ type, connection, ...read });
  }

  #refuse(connection: ConnectionId, reason: string): void {
    this.#connections.get(connection)?.close(reason);
    this.#connections.delete(connection);
    this.#step({ type: 'closed', connection });
  }
}
