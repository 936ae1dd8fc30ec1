import type { Clock, Timer } from '../base/clock.ts';
import { compareBytes, spkiFingerprint } from '../base/identity.ts';
import type { PathClass } from '../base/path-class.ts';
import type { Carrier, QuicConnection } from '../quic/index.ts';
import type { FriendPath } from './friend-path.ts';

/** As many datagrams as a wish may bring along. */
const MAX_DATAGRAMS = 2;

/**
 * Adopted later, it would take the wait for a long way to the friend, and be slow to repeat what gets
 * lost; a connection of its own is faster then.
 */
const FRESH_MS = 700;

/** What dials: the endpoint, told what every connection to a friend has. */
export type DialFriend = (options: {
  readonly carrier: Carrier;
  readonly pathClass: PathClass;
  readonly verify: (certDer: Uint8Array) => boolean;
  readonly signal: AbortSignal;
}) => Promise<QuicConnection>;

/**
 * A connection to a friend that is begun before anything is known of the friend but a name: its first
 * datagrams ride along with the wish to a server, which hands them over with the match. When the match
 * is here, so are the path on which it goes on and the key that the friend must prove. Until then
 * nothing is sent and nothing can come.
 */
export class EarlyDial implements Carrier {
  readonly #connection: Promise<QuicConnection>;
  readonly #abort = new AbortController();
  readonly #flight: Uint8Array[] = [];
  readonly #freshUntil: number;
  readonly #timer: Timer;
  #sealed = false;
  #path: FriendPath | undefined;
  #key: Uint8Array | undefined;

  constructor(dial: DialFriend, clock: Clock) {
    this.#freshUntil = clock.now() + FRESH_MS;
    this.#timer = clock.setTimer(FRESH_MS, () => this.abandon());
    this.#connection = dial({
      carrier: this,
      pathClass: 'relay',
      verify: (certDer) =>
        this.#key !== undefined && compareBytes(spkiFingerprint(certDer), this.#key) === 0,
      signal: this.#abort.signal,
    });
    // Whoever adopts it hears of its end.
    this.#connection.catch(() => undefined);
  }

  /** What it begins with. Resolves in a turn of the event loop or two; empty where there is too much. */
  async flight(): Promise<readonly Uint8Array[]> {
    // The endpoint sends once a turn.
    for (let turn = 0; turn < 2 && this.#flight.length === 0; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#sealed = true;
    return this.#flight.length <= MAX_DATAGRAMS ? this.#flight : [];
  }

  get successor(): FriendPath | undefined {
    return this.#path;
  }

  /** Whether it can still be adopted. */
  isFresh(now: number): boolean {
    return this.#path === undefined && now < this.#freshUntil && !this.#abort.signal.aborted;
  }

  /** The match is here: the connection goes on, on its path, with whoever has this key. */
  adopt(path: FriendPath, key: Uint8Array): Promise<QuicConnection> {
    this.#timer.cancel();
    this.#path = path;
    this.#key = key;
    return this.#connection;
  }

  /** Ends it, unless it has been adopted. Nobody is told. */
  abandon(): void {
    this.#timer.cancel();
    if (this.#path === undefined) this.#abort.abort(new Error('it is not needed'));
  }

  send(datagram: Uint8Array, pathClass: PathClass): void {
    if (this.#path !== undefined) this.#path.send(datagram, pathClass);
    else if (!this.#sealed) this.#flight.push(Uint8Array.from(datagram));
  }

  classOf(): undefined {
    return undefined;
  }
}
