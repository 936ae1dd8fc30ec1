import type { Address } from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';
import type { RelayLimit } from '../path/index.ts';
import type { Way } from './link-attempts.ts';
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

/** What is known of a way to a friend beside the way itself. */
export interface ReportHost {
  /**
   * The address of ours that packets to `remote` come from, as far as it is known here.
   * @param socket see `Path.local`.
   */
  localAddressFor(remote: Address, socket?: Address): Address;
  /** Why there is no direct path to a friend's session. */
  obstacleTo(match: Match): Obstacle;
}

export interface ReportEvents {
  /** A key was proven, for the first time between these two sessions. */
  connected(info: ConnectionInfo): void;
  /** The way to the friend is another one, or stands again. */
  path(info: ConnectionInfo): void;
  /** There is no direct path, and why; a relay may go on. */
  obstacle(obstacle: Obstacle): void;
  /** The relaying server drops what is more than it allows. */
  relayLimited(limit: RelayLimit): void;
}

/** Tells the user how the friend is reached: once, and whenever that is news. */
export class ConnectionReport {
  readonly #host: ReportHost;
  readonly #events: ReportEvents;
  /** The class of path that was told last. */
  #pathClass: PathClass | undefined;
  /** The first `connected` of the session waits for a path to tell of. */
  #firstUntold = false;
  #obstacleTold = false;
  /** Since the way was last a direct one. */
  readonly #limitsTold = new Set<RelayLimit>();

  constructor(host: ReportHost, events: ReportEvents) {
    this.#host = host;
    this.#events = events;
  }

  /** Another of the friend's sessions is reached from now on. */
  begin(): void {
    this.#pathClass = undefined;
    this.#firstUntold = false;
    this.#obstacleTold = false;
    this.#limitsTold.clear();
  }

  /** @param way undefined where the friend was through before our own side has chosen a path. */
  connected(first: boolean, way: Way | undefined): void {
    this.#firstUntold ||= first;
    if (way === undefined) return;
    const info = this.#info(way);
    if (this.#firstUntold) this.#events.connected(info);
    else this.#events.path(info);
    this.#firstUntold = false;
  }

  /** What seemed lost goes on. */
  restored(way: Way | undefined): void {
    if (way !== undefined) this.#events.path(this.#info(way));
  }

  /** There is a better path. */
  selected(way: Way | undefined): void {
    // A faster path of the same class changes nothing that anybody needs to be told.
    if (this.#firstUntold || this.#pathClass !== way?.path.pathClass) this.connected(false, way);
  }

  /** Once for each of the friend's sessions. */
  notDirect(match: Match): void {
    if (this.#obstacleTold) return;
    this.#obstacleTold = true;
    this.#events.obstacle(this.#host.obstacleTo(match));
  }

  /** Once for each limit while there is no direct way: the server repeats it as long as it lasts. */
  relayLimited(limit: RelayLimit): void {
    if (this.#limitsTold.has(limit)) return;
    this.#limitsTold.add(limit);
    this.#events.relayLimited(limit);
  }

  #info({ path, remote, fingerprint }: Way): ConnectionInfo {
    this.#pathClass = path.pathClass;
    if (path.pathClass !== 'relay') this.#limitsTold.clear();
    return {
      path: path.pathClass === 'relay' ? 'relay' : 'direct',
      kind: path.kind,
      local: this.#host.localAddressFor(remote, path.local),
      remote,
      fingerprint,
    };
  }
}
