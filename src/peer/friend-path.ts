import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { PathClass } from '../base/path-class.ts';
import type { PathAgent, PathEffect, PathInput, Path } from '../path/index.ts';
import type { Carrier } from '../quic/index.ts';

export interface FriendPathEvents {
  /** There is a checked path where there was none. */
  ready(): void;
  /** The friend has answered on one more path: its connections may come on it. */
  opened(): void;
  /** The best path is another one. */
  selected(path: Path): void;
  /** There is none any more. */
  lost(): void;
}

export interface FriendPathOptions {
  readonly agent: PathAgent;
  readonly clock: Clock;
  /** Sends from the socket that everything goes through; false where it could not. */
  send(datagram: Uint8Array, remote: Address): boolean;
  readonly events: FriendPathEvents;
  onClose(): void;
}

/**
 * The paths to one session of a friend: carries out what the `PathAgent` decides, and is what the
 * QUIC connections to that session lie on.
 */
export class FriendPath implements Carrier {
  readonly #options: FriendPathOptions;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: FriendPathOptions) {
    this.#options = options;
    this.step({ type: 'tick' });
  }

  get best(): Path | undefined {
    return this.#options.agent.selected();
  }

  step(input: PathInput): void {
    if (this.#closed) return;
    const { agent, clock } = this.#options;
    const hadPath = this.best !== undefined;
    const effects = agent.step(input, clock.now());
    for (const effect of effects) this.#carryOut(effect);
    this.#timer?.cancel();
    const deadline = agent.nextDeadline();
    this.#timer =
      deadline === undefined
        ? undefined
        : clock.setTimer(deadline - clock.now(), () => this.step({ type: 'tick' }));
    const best = this.best;
    if (best !== undefined && !hadPath) this.#options.events.ready();
    if (best === undefined && hadPath) this.#options.events.lost();
  }

  #carryOut(effect: PathEffect): void {
    if (effect.type === 'send') this.#options.send(effect.datagram, effect.remote);
    else if (effect.type === 'answered') this.#options.events.opened();
    else if (effect.type === 'selected') this.#options.events.selected(effect.path);
    // Rounds without a path, `failed` included, are nothing to act on here: as long as there is none,
    // the link asks for more every 5 s (`repunch`), until it gives the session up.
  }

  send(datagram: Uint8Array, pathClass: PathClass): void {
    const path = this.#options.agent.selected(pathClass) ?? this.best;
    if (path !== undefined && !this.#closed) this.#options.send(datagram, path.remote);
  }

  classOf(remote: Address): PathClass | undefined {
    return this.#closed ? undefined : this.#options.agent.classOf(remote);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#options.onClose();
  }
}
