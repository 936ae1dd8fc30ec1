import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { PathClass } from '../base/path-class.ts';
import type { GuessProgress, Path, RelayLimit } from '../path/index.ts';
import type { Carrier, QuicConnection } from '../quic/index.ts';
import type { Endpoint, SessionId } from '../rpc/generated/chatty/v1/common.ts';
import type { FriendHello, FriendWelcome, PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';
import { FriendConnection } from './friend-connection.ts';
import {
  type GreetingParties,
  helloTo,
  readHello,
  readWelcome,
  welcomeFrom,
} from './friend-greeting.ts';
import type { FriendPath, FriendPathEvents } from './friend-path.ts';
import { errorFromFault } from './registration.ts';
import {
  type AttemptEffect,
  type AttemptInput,
  type ConnectionId,
  type FriendGreeting,
  isAttemptEffect,
  type LinkEffect,
  type LinkInput,
} from './link-events.ts';
import { LinkMachine } from './link-machine.ts';
import type { Match } from './match.ts';
import type { Obstacle } from './obstacle.ts';

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
  /** There is no direct path, and why; a relay may go on. */
  obstacle?(obstacle: Obstacle): void;
  /** A relaying server drops what is too much. */
  relayLimited?(limit: RelayLimit): void;
  /** Ports are guessed to reach it, or that is over. */
  guessing?(progress: GuessProgress): void;
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
  dial(path: FriendPath, friend: string, key: Uint8Array): Promise<QuicConnection>;
  /**
   * The address of ours that packets to `remote` come from, as far as it is known here.
   * @param socket see `Path.local`.
   */
  localAddressFor(remote: Address, socket?: Address): Address;
  merge(path: FriendPath, endpoint: Endpoint): void;
  /** Why there is no direct path to a friend's session. */
  obstacleTo(match: Match): Obstacle;
  /** Servers are to see where this peer is now, and tell friends. */
  doubtWhereabouts(): void;
  /** Asks the servers again whether the friend is there. */
  renewWish(friend: string): void;
}

/** What is under way to reach one of the friend's sessions. */
interface Attempt {
  path: FriendPath | undefined;
  /** The last path that was best. */
  lastBest: Path | undefined;
  /** The user knows why there is no direct path. */
  obstacleTold: boolean;
}

/** The link to one friend: carries out what the `LinkMachine` decides. */
export class FriendLink {
  readonly friend: string;
  readonly #host: FriendLinkHost;
  readonly #events: FriendLinkEvents;
  readonly #machine: LinkMachine;
  readonly #connections = new Map<ConnectionId, FriendConnection>();
  readonly #attempts: Record<'current' | 'beside', Attempt | undefined> = {
    current: undefined,
    beside: undefined,
  };
  #timer: Timer | undefined;
  #lastConnection = 0;
  /** The class of path that the user was last told. */
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

  /** The path to this friend between our socket at `local` and `remote`. */
  pathFrom(
    remote: Address,
    local: Address,
  ): { readonly carrier: FriendPath; readonly pathClass: PathClass } | undefined {
    // A session that is tried has answered there with credentials of its own: the one in use is, if
    // anything, what was there before it.
    for (const attempt of [this.#attempts.beside, this.#attempts.current]) {
      const pathClass = attempt?.path?.classOf(remote, local);
      if (attempt?.path !== undefined && pathClass !== undefined) {
        return { carrier: attempt.path, pathClass };
      }
    }
    return undefined;
  }

  /** Whether a connection came over a path to this friend. */
  isCarrierOf({ carrier }: QuicConnection): boolean {
    return this.#attemptOver(carrier) !== undefined;
  }

  matched(match: Match): void {
    this.#step({ type: 'match', match });
  }

  /** A connection dialled by whoever holds this friend's key, over a path to this friend. */
  accept(quic: QuicConnection): void {
    const attempt = this.#attemptOver(quic.carrier);
    if (attempt === undefined) quic.close(0, 'the friend has started anew');
    else this.#stepAttempt(attempt, { type: 'accepted', connection: this.#adopt(quic) });
  }

  #isConnectedOver({ path }: Attempt): boolean {
    return [...this.#connections.values()].some(({ quic }) => quic.carrier === path);
  }

  #attemptOver(carrier: Carrier | undefined): Attempt | undefined {
    const { current, beside } = this.#attempts;
    return [current, beside].find((each) => each !== undefined && each.path === carrier);
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
    for (const connection of this.#connections.values()) connection.close('goodbye');
    this.#connections.clear();
    this.#leave('current');
    this.#leave('beside');
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
    if (isAttemptEffect(effect)) {
      this.#attempt('current', effect);
      return;
    }
    switch (effect.type) {
      case 'beside':
        this.#attempt('beside', effect.effect);
        return;
      case 'promote':
        this.#promote();
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

  /** Does what an effect wants of the attempt at the session in use, or at the one beside it. */
  #attempt(slot: 'current' | 'beside', effect: AttemptEffect): void {
    const attempt = this.#attempts[slot];
    switch (effect.type) {
      case 'punch':
        this.#leave(slot);
        this.#attempts[slot] = this.#punch(effect.match);
        if (slot === 'current') this.#forgetTold();
        this.#events.matched(effect.match);
        return;
      case 'merge':
        if (attempt?.path !== undefined) this.#host.merge(attempt.path, effect.endpoint);
        return;
      case 'stop-punching':
        this.#leave(slot);
        return;
      case 'repunch':
        this.#host.doubtWhereabouts();
        attempt?.path?.step({ type: 'network-changed' });
        return;
      case 'dial':
        if (attempt !== undefined) void this.#dial(attempt, effect.key);
        return;
    }
  }

  #punch(match: Match): Attempt {
    const attempt: Attempt = { path: undefined, lastBest: undefined, obstacleTold: false };
    attempt.path = this.#host.punch(match, {
      ready: (presumed) => this.#stepAttempt(attempt, { type: 'path-ready', presumed }),
      lost: () => this.#stepAttempt(attempt, { type: 'path-lost' }),
      selected: (path) => this.#selected(attempt, path),
      doubted: () => this.#host.doubtWhereabouts(),
      guessing: (progress) => this.#events.guessing?.(progress),
      relayLimited: (limit) => this.#events.relayLimited?.(limit),
      notDirect: () => this.#tellObstacle(attempt, match),
    });
    return attempt;
  }

  /** Once for each of the friend's sessions. */
  #tellObstacle(attempt: Attempt, match: Match): void {
    if (attempt.obstacleTold || attempt !== this.#attempts.current) return;
    attempt.obstacleTold = true;
    this.#events.obstacle?.(this.#host.obstacleTo(match));
  }

  /** Steps the machine for an attempt, unless that has been left. */
  #stepAttempt(attempt: Attempt, input: AttemptInput): void {
    const { current, beside } = this.#attempts;
    if (attempt === current) this.#step(input);
    else if (attempt === beside) this.#step({ type: 'beside', input });
  }

  #promote(): void {
    this.#leave('current');
    this.#attempts.current = this.#attempts.beside;
    this.#attempts.beside = undefined;
    this.#forgetTold();
  }

  #forgetTold(): void {
    this.#pathClass = undefined;
    this.#firstUntold = false;
  }

  /** Connections that are being closed still say so over the path, at the end of this turn. */
  #leave(slot: 'current' | 'beside'): void {
    const path = this.#attempts[slot]?.path;
    this.#attempts[slot] = undefined;
    if (path !== undefined) setImmediate(() => path.close());
  }

  #selected(attempt: Attempt, path: Path): void {
    attempt.lastBest = path;
    for (const { quic } of this.#connections.values()) {
      if (quic.carrier !== attempt.path) continue;
      if (quic.role === 'dialer') quic.selectPath(path.pathClass);
      // What was lost on the way before is sent again with the answer, not when its timer says so.
      quic.ping();
    }
    if (attempt !== this.#attempts.current || !this.#isConnectedOver(attempt)) return;
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
    const { current } = this.#attempts;
    const best = current?.path?.best ?? current?.lastBest;
    const match = this.#machine.match;
    if (best === undefined || match === undefined) return undefined;
    this.#pathClass = best.pathClass;
    const remote = current?.path?.addressOf(best) ?? best.remote;
    return {
      path: best.pathClass === 'relay' ? 'relay' : 'direct',
      kind: best.kind,
      local: this.#host.localAddressFor(remote, best.local),
      remote,
      fingerprint: match.key,
    };
  }

  async #dial(attempt: Attempt, key: Uint8Array): Promise<void> {
    const { path } = attempt;
    try {
      if (path?.best === undefined) {
        throw new ChattyError('CHATTY_TRANSPORT', 'there is no path to the friend');
      }
      const quic = await this.#host.dial(path, this.friend, key);
      // What was found during the handshake is used from now on.
      useBest(path, quic);
      const { current, beside } = this.#attempts;
      if (attempt !== current && attempt !== beside) {
        quic.close(0, 'the friend has started anew');
        return;
      }
      this.#stepAttempt(attempt, { type: 'dialled', connection: this.#adopt(quic) });
    } catch (error) {
      this.#stepAttempt(attempt, { type: 'dial-failed', reason: reasonOf(error) });
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
    const read = readHello(hello, this.#parties);
    if ('fault' in read) {
      this.#connections.get(connection)?.send({ $case: 'error', value: read.fault });
      this.#events.fault(new ChattyError('CHATTY_VERSION', read.fault.message));
      this.#refuse(connection, read.fault.message);
    } else if ('refused' in read) this.#refuse(connection, read.refused);
    else this.#step({ type: 'hello', connection, ...read });
  }

  #takeWelcome(connection: ConnectionId, welcome: FriendWelcome): void {
    const read = readWelcome(welcome);
    if ('fault' in read) {
      this.#events.fault(new ChattyError('CHATTY_VERSION', read.fault.message));
      this.#refuse(connection, read.fault.message);
    } else if ('refused' in read) this.#refuse(connection, read.refused);
    else this.#step({ type: 'welcome', connection, ...read });
  }

  #refuse(connection: ConnectionId, reason: string): void {
    this.#connections.get(connection)?.close(reason);
    this.#connections.delete(connection);
    this.#step({ type: 'closed', connection, reason });
  }
}

function useBest({ best }: FriendPath, quic: QuicConnection): void {
  if (best !== undefined && best.pathClass !== quic.pathClass) quic.selectPath(best.pathClass);
}
