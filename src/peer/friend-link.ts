import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Path } from '../path/index.ts';
import type { Carrier, QuicConnection } from '../quic/index.ts';
import type { Endpoint, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { FriendHello, FriendWelcome, PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import { negotiate, OWN_PROTOCOL } from '../rpc/protocol.ts';
import { isSessionId } from '../rpc/session-id.ts';
import { FriendConnection } from './friend-connection.ts';
import type { FriendPath, FriendPathEvents } from './friend-path.ts';
import { errorFromFault } from './registration.ts';
import type { ConnectionId, FriendGreeting, LinkEffect, LinkInput } from './link-events.ts';
import { LinkMachine } from './link-machine.ts';
import type { Match } from './match.ts';

/** How a friend is reached at this moment. */
export interface ConnectionInfo {
  readonly path: 'direct' | 'relay';
  readonly kind: 'host' | 'srflx' | 'prflx' | 'mapped' | 'relay';
  readonly local: Address;
  readonly remote: Address;
  /** The friend's proven key. */
  readonly fingerprint: Uint8Array;
}

export type FriendFrame = NonNullable<PeerFrame['kind']>;

export interface FriendLinkEvents {
  matched(match: Match): void;
  /** A key was proven, for the first time between these two sessions. */
  connected(info: ConnectionInfo): void;
  /** The way to the friend is another one, or stands again. */
  path(info: ConnectionInfo): void;
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
export interface FriendLinkHost {
  readonly clock: Clock;
  readonly ownName: string;
  readonly ownSession: SessionId;
  readonly ownFingerprint: Uint8Array;
  /** Starts checking paths to a friend's session. */
  punch(match: Match, events: Omit<FriendPathEvents, 'opened'>): FriendPath;
  dial(carrier: Carrier, pathClass: PathClass, key: Uint8Array): Promise<QuicConnection>;
  /** The address of ours that packets to `remote` come from, as far as it is known here. */
  localAddressFor(remote: Address): Address;
  merge(path: FriendPath, endpoint: Endpoint): void;
  /** Asks the servers again whether the friend is there. */
  renewWish(friend: string): void;
}

/** The link to one friend: carries out what the `LinkMachine` decides. */
export class FriendLink {
  readonly friend: string;
  readonly #host: FriendLinkHost;
  readonly #events: FriendLinkEvents;
  readonly #machine: LinkMachine;
  readonly #connections = new Map<ConnectionId, FriendConnection>();
  #path: FriendPath | undefined;
  #timer: Timer | undefined;
  #lastConnection = 0;
  /** The last path that was best, and the class the user was last told. */
  #lastBest: Path | undefined;
  #pathClass: PathClass | undefined;
  /** The first `connected` of the session waits for a path to tell of. */
  #firstUntold = false;
  #closed = false;

  constructor(friend: string, host: FriendLinkHost, events: FriendLinkEvents) {
    this.friend = friend;
    this.#host = host;
    this.#events = events;
    this.#machine = new LinkMachine(host.ownFingerprint);
  }

  get match(): Match | undefined {
    return this.#machine.match;
  }

  get path(): FriendPath | undefined {
    return this.#path;
  }

  matched(match: Match): void {
    this.#step({ type: 'match', match });
  }

  /** A connection dialled by whoever holds this friend's key. */
  accept(quic: QuicConnection): void {
    const id = this.#adopt(quic);
    this.#step({ type: 'accepted', connection: id });
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
    this.#timer?.cancel();
    this.#leavePath();
  }

  /** Connections that are being closed still say so over the path, at the end of this turn. */
  #leavePath(): void {
    const path = this.#path;
    this.#path = undefined;
    if (path !== undefined) setImmediate(() => path.close());
  }

  #step(input: LinkInput): void {
    if (this.#closed) return;
    const { clock } = this.#host;
    const wasActive = this.#machine.active;
    const effects = this.#machine.step(input, clock.now());
    if (wasActive !== undefined && this.#machine.active === undefined) this.#events.down();
    for (const effect of effects) this.#carryOut(effect);
    this.#timer?.cancel();
    const deadline = this.#machine.nextDeadline();
    this.#timer =
      deadline === undefined
        ? undefined
        : clock.setTimer(deadline - clock.now(), () => this.#step({ type: 'tick' }));
  }

  #carryOut(effect: LinkEffect): void {
    switch (effect.type) {
      case 'punch':
        this.#punch(effect.match);
        this.#events.matched(effect.match);
        return;
      case 'merge':
        if (this.#path !== undefined) this.#host.merge(this.#path, effect.endpoint);
        return;
      case 'stop-punching':
        this.#leavePath();
        return;
      case 'repunch':
        this.#path?.step({ type: 'network-changed' });
        return;
      case 'ask-again':
        this.#host.renewWish(this.friend);
        return;
      case 'dial':
        void this.#dial(effect.key);
        return;
      case 'send-hello':
        this.#connections.get(effect.connection)?.send({
          $case: 'hello',
          value: this.#hello(effect.generation),
        });
        return;
      case 'send-welcome':
        this.#connections.get(effect.connection)?.send({
          $case: 'welcome',
          value: this.#welcome(effect.generation, effect.conversation),
        });
        return;
      case 'close':
        this.#connections.get(effect.connection)?.close(effect.reason);
        this.#connections.delete(effect.connection);
        return;
      case 'connected':
        this.#tellConnected(effect.first);
        return;
      case 'activate':
        this.#events.up(effect.session, effect.greeting);
        this.#repeatAcknowledgement(effect.session);
        return;
      case 'greeted':
        this.#events.greeted(effect.greeting);
        return;
      case 'restored':
        this.#tellPath();
        return;
      case 'reconnecting':
        this.#events.reconnecting();
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

  #punch(match: Match): void {
    this.#leavePath();
    this.#pathClass = undefined;
    this.#lastBest = undefined;
    this.#firstUntold = false;
    this.#path = this.#host.punch(match, {
      ready: () => this.#step({ type: 'path-ready' }),
      lost: () => this.#step({ type: 'path-lost' }),
      selected: (path) => this.#selected(path),
    });
  }

  #selected(path: Path): void {
    this.#lastBest = path;
    for (const { quic } of this.#connections.values()) {
      if (quic.role === 'dialer') quic.selectPath(path.pathClass);
    }
    if (this.#connections.size === 0) return;
    if (this.#firstUntold) this.#tellConnected(true);
    // A faster path of the same class changes nothing that anybody needs to be told.
    else if (this.#pathClass !== path.pathClass) this.#tellPath();
  }

  #tellConnected(first: boolean): void {
    this.#firstUntold ||= first;
    const info = this.#info();
    // A friend can be through before our own side has chosen a path: it is told when it has.
    if (info === undefined) return;
    if (this.#firstUntold) this.#events.connected(info);
    else this.#events.path(info);
    this.#firstUntold = false;
  }

  /** The one sent on the connection before may be lost with it, and our greeting here be older. */
  #repeatAcknowledgement(session: SessionId): void {
    const { receivedUpTo: number, toConversation } = this.#events.greeting(session);
    if (number > 0n) this.send({ $case: 'acknowledgement', value: { number, toConversation } });
  }

  #tellPath(): void {
    const info = this.#info();
    if (info !== undefined) this.#events.path(info);
  }

  #info(): ConnectionInfo | undefined {
    const best = this.#path?.best ?? this.#lastBest;
    const match = this.#machine.match;
    if (best === undefined || match === undefined) return undefined;
    this.#pathClass = best.pathClass;
    return {
      path: best.pathClass === 'relay' ? 'relay' : 'direct',
      kind: best.kind,
      local: this.#host.localAddressFor(best.remote),
      remote: best.remote,
      fingerprint: match.key,
    };
  }

  async #dial(key: Uint8Array): Promise<void> {
    const path = this.#path;
    try {
      if (path?.best === undefined) {
        throw new ChattyError('CHATTY_TRANSPORT', 'there is no path to the friend');
      }
      const quic = await this.#host.dial(path, path.best.pathClass, key);
      if (path !== this.#path) {
        quic.close(0, 'the friend has started anew');
        return;
      }
      const connection = this.#adopt(quic);
      this.#step({ type: 'dialled', connection });
    } catch (error) {
      if (path === this.#path) this.#step({ type: 'dial-failed', reason: reasonOf(error) });
    }
  }

  #adopt(quic: QuicConnection): ConnectionId {
    const id = ++this.#lastConnection;
    const connection = new FriendConnection(quic, {
      frame: (frame) => this.#frame(id, frame),
      closed: (reason) => {
        this.#connections.delete(id);
        this.#step({ type: 'closed', connection: id, reason });
      },
    });
    this.#connections.set(id, connection);
    return id;
  }

  #frame(connection: ConnectionId, frame: FriendFrame): void {
    switch (frame.$case) {
      case 'hello':
        this.#takeHello(connection, frame.value);
        return;
      case 'welcome':
        this.#takeWelcome(connection, frame.value);
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

  #takeHello(connection: ConnectionId, hello: FriendHello): void {
    const agreed = negotiate(hello.protocol, 'friend');
    if ('fault' in agreed) {
      this.#connections.get(connection)?.send({ $case: 'error', value: agreed.fault });
      this.#events.fault(new ChattyError('CHATTY_VERSION', agreed.fault.message));
    }
    const { ownName, ownSession } = this.#host;
    const meant =
      hello.from === this.friend &&
      hello.to === ownName &&
      isSessionId(hello.fromSession) &&
      hello.toSession?.startedAt === ownSession.startedAt &&
      Buffer.compare(hello.toSession.nonce, ownSession.nonce) === 0;
    if ('fault' in agreed || !meant) {
      this.#refuse(connection, 'the hello is not for this conversation');
      return;
    }
    this.#step({
      type: 'hello',
      connection,
      session: hello.fromSession as SessionId,
      generation: hello.generation,
      greeting: {
        conversation: hello.conversation,
        toConversation: hello.toConversation,
        receivedUpTo: hello.receivedUpTo,
      },
    });
  }

  #takeWelcome(connection: ConnectionId, welcome: FriendWelcome): void {
    const agreed = negotiate(welcome.protocol, 'friend');
    if ('fault' in agreed) {
      this.#events.fault(new ChattyError('CHATTY_VERSION', agreed.fault.message));
      this.#refuse(connection, agreed.fault.message);
      return;
    }
    const { generation, conversation, receivedUpTo } = welcome;
    // It answers our hello, which has told the number of ours.
    const greeting = { conversation, toConversation: undefined, receivedUpTo };
    this.#step({ type: 'welcome', connection, generation, greeting });
  }

  #refuse(connection: ConnectionId, reason: string): void {
    this.#connections.get(connection)?.close(reason);
    this.#connections.delete(connection);
    this.#step({ type: 'closed', connection, reason });
  }

  #hello(generation: number): FriendHello {
    const toSession = this.#machine.match?.session;
    return {
      protocol: OWN_PROTOCOL,
      from: this.#host.ownName,
      to: this.friend,
      fromSession: this.#host.ownSession,
      toSession,
      generation,
      ...this.#greeting(undefined),
    };
  }

  #welcome(generation: number, friendConversation: bigint | undefined): FriendWelcome {
    const { conversation, receivedUpTo } = this.#greeting(friendConversation);
    return {
      protocol: OWN_PROTOCOL,
      fromSession: this.#host.ownSession,
      generation,
      conversation,
      receivedUpTo,
    };
  }

  #greeting(friendConversation: bigint | undefined): FriendGreeting {
    const session = this.#machine.match?.session;
    return session === undefined
      ? { conversation: undefined, toConversation: undefined, receivedUpTo: 0n }
      : this.#events.greeting(session, friendConversation);
  }
}
