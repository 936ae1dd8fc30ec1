import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Path } from '../path/index.ts';
import type { Carrier, QuicConnection } from '../quic/index.ts';
import type { Endpoint } from '../rpc/generated/chatty/v1/common.ts';
import type { FriendPath, FriendPathEvents } from './friend-path.ts';
import type { AttemptEffect, AttemptInput, ConnectionId, LinkInput } from './link-events.ts';
import type { Match } from './match.ts';

/** What looking for a friend's session takes. */
export interface AttemptHost {
  /** Starts checking paths to a friend's session. Nothing is told of them before it has returned. */
  punch(match: Match, events: Omit<FriendPathEvents, 'opened'>): FriendPath;
  merge(path: FriendPath, endpoint: Endpoint): void;
  dial(path: FriendPath, friend: string, key: Uint8Array): Promise<QuicConnection>;
  /** Servers are to see where this peer is now, and tell friends. */
  doubtWhereabouts(): void;
}

export interface AttemptEvents extends Required<
  Pick<FriendPathEvents, 'relayLimited' | 'guessing'>
> {
  /** For the machine. */
  input(input: LinkInput): void;
  /** The friend's key is proven on a connection we dialled. */
  dialled(connection: QuicConnection): ConnectionId;
  /** Another session is looked for, beside the one in use or in its stead. */
  begun(match: Match, slot: Slot): void;
  /** The best path of these is another one. */
  selected(paths: FriendPath, best: Path): void;
  /** There is no direct path to the session in use. */
  notDirect(match: Match): void;
}

/** The session in use, or the one that is tried beside it. */
export type Slot = 'current' | 'beside';

/** The best path, or, where there is none, the last that was. */
export interface Way {
  readonly path: Path;
  /** Where packets on it really go. */
  readonly remote: Address;
  /** Of the friend's key. */
  readonly fingerprint: Uint8Array;
}

/** What is under way to reach one of the friend's sessions. */
interface Attempt {
  readonly match: Match;
  readonly paths: FriendPath;
  /** The last path that was best. */
  lastBest: Path | undefined;
}

/** Looks for the friend's session in use, and for another beside it: paths, and dials over them. */
export class LinkAttempts {
  readonly #friend: string;
  readonly #host: AttemptHost;
  readonly #events: AttemptEvents;
  readonly #attempts: Record<Slot, Attempt | undefined> = {
    current: undefined,
    beside: undefined,
  };

  constructor(friend: string, host: AttemptHost, events: AttemptEvents) {
    this.#friend = friend;
    this.#host = host;
    this.#events = events;
  }

  /** How the session in use is reached. */
  get way(): Way | undefined {
    const { current } = this.#attempts;
    if (current === undefined) return undefined;
    const { match, paths, lastBest } = current;
    const path = paths.best ?? lastBest;
    if (path === undefined) return undefined;
    return { path, remote: paths.addressOf(path), fingerprint: match.key };
  }

  /** The path between our socket at `local` and `remote`. */
  pathFrom(
    remote: Address,
    local: Address,
  ): { readonly carrier: FriendPath; readonly pathClass: PathClass } | undefined {
    // A session that is tried has answered there with credentials of its own: the one in use is, if
    // anything, what was there before it.
    for (const attempt of [this.#attempts.beside, this.#attempts.current]) {
      const pathClass = attempt?.paths.classOf(remote, local);
      if (attempt !== undefined && pathClass !== undefined) {
        return { carrier: attempt.paths, pathClass };
      }
    }
    return undefined;
  }

  /** Which session a connection leads to that lies on this. */
  slotOf(carrier: Carrier | undefined): Slot | undefined {
    if (carrier === undefined) return undefined;
    if (carrier === this.#attempts.current?.paths) return 'current';
    return carrier === this.#attempts.beside?.paths ? 'beside' : undefined;
  }

  /** Tells the machine of what happens on this, unless that has been left. */
  step(carrier: Carrier, input: AttemptInput): void {
    const slot = this.slotOf(carrier);
    if (slot === 'current') this.#events.input(input);
    else if (slot === 'beside') this.#events.input({ type: 'beside', input });
  }

  carryOut(slot: Slot, effect: AttemptEffect): void {
    const attempt = this.#attempts[slot];
    switch (effect.type) {
      case 'punch':
        this.leave(slot);
        this.#attempts[slot] = this.#punch(effect.match);
        this.#events.begun(effect.match, slot);
        return;
      case 'merge':
        if (attempt !== undefined) this.#host.merge(attempt.paths, effect.endpoint);
        return;
      case 'stop-punching':
        this.leave(slot);
        return;
      case 'repunch':
        this.#host.doubtWhereabouts();
        attempt?.paths.step({ type: 'network-changed' });
        return;
      case 'dial':
        if (attempt !== undefined) void this.#dial(attempt.paths, effect.key);
        return;
    }
  }

  /** What was tried beside is in use from now on. */
  promote(): void {
    this.leave('current');
    this.#attempts.current = this.#attempts.beside;
    this.#attempts.beside = undefined;
  }

  /** Connections that are being closed still say so over the paths, at the end of this turn. */
  leave(slot: Slot): void {
    const paths = this.#attempts[slot]?.paths;
    this.#attempts[slot] = undefined;
    if (paths !== undefined) setImmediate(() => paths.close());
  }

  #punch(match: Match): Attempt {
    const events = this.#events;
    const paths: FriendPath = this.#host.punch(match, {
      ready: (presumed) => this.step(paths, { type: 'path-ready', presumed }),
      lost: () => this.step(paths, { type: 'path-lost' }),
      selected: (path) => {
        attempt.lastBest = path;
        events.selected(paths, path);
      },
      doubted: () => this.#host.doubtWhereabouts(),
      guessing: (progress) => events.guessing(progress),
      relayLimited: (limit) => {
        if (this.slotOf(paths) === 'current') events.relayLimited(limit);
      },
      notDirect: () => {
        if (this.slotOf(paths) === 'current') events.notDirect(match);
      },
    });
    const attempt: Attempt = { match, paths, lastBest: undefined };
    return attempt;
  }

  async #dial(paths: FriendPath, key: Uint8Array): Promise<void> {
    try {
      const quic = await this.#host.dial(paths, this.#friend, key);
      useBest(paths, quic);
      if (this.slotOf(paths) === undefined) quic.close(0, 'the friend has started anew');
      else this.step(paths, { type: 'dialled', connection: this.#events.dialled(quic) });
    } catch {
      this.step(paths, { type: 'dial-failed' });
    }
  }
}

/** What was found during the handshake is used from now on. */
function useBest({ best }: FriendPath, quic: QuicConnection): void {
  if (best !== undefined && best.pathClass !== quic.pathClass) quic.selectPath(best.pathClass);
}
