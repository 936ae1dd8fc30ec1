import { encodeRelayFrame, type RelayFrame, type RelayLimit, relayProof } from './relay-frame.ts';

/** After the first BIND of an attempt, when it is sent again if nothing answers, in ms. */
const REPEAT_AT_MS = [50, 150, 350, 750, 1550] as const;
/** An attempt is over, whatever the round-trip time. */
const ATTEMPT_MS = 3000;
/** Routers forget where a silent peer is after 20 to 30 s. */
const REFRESH_MS = 15_000;
/** A server that does not answer is asked again so long after. */
const RETRY_MS = 5000;
/** Challenges answered in so long a time: each way needs one, and some get lost. */
const MAX_CHALLENGES = 8;
const CHALLENGES_MS = 1000;

export interface RelayBindingOptions<Route> {
  readonly channel: string;
  /** What proofs are made with. */
  readonly key: Uint8Array;
  /** The ways to the server, best first; compared by identity. */
  readonly routes: readonly Route[];
}

export type RelayBindingInput<Route> =
  /** A frame of our channel that came from the server. */
  | { readonly type: 'frame'; readonly frame: RelayFrame; readonly route: Route }
  /** We may be elsewhere now. */
  | { readonly type: 'network-changed' }
  /** Whether the relay is, or may soon be, in use: only then is it held open. */
  | { readonly type: 'wanted'; readonly wanted: boolean }
  /** The time `nextDeadline` named has come. */
  | { readonly type: 'tick' };

export type RelayBindingEffect<Route> =
  | { readonly type: 'send'; readonly datagram: Uint8Array; readonly route: Route }
  /** Data may be sent; once more when the friend's side is there, too. */
  | { readonly type: 'opened' }
  /** The server does not answer any more. */
  | { readonly type: 'closed' }
  /** The server drops what is too much. */
  | { readonly type: 'limited'; readonly limit: RelayLimit };

interface Attempt<Route> {
  readonly startedAt: number;
  readonly routes: readonly Route[];
  sent: number;
}

/**
 * Tells one relaying server where this side is, and keeps telling it. Pure.
 *
 * It counts as open from the first BIND on, before the server has answered: what is sent right
 * behind it arrives right behind it, and where the server knows us already it is relayed.
 */
export class RelayBinding<Route> {
  readonly channel: string;
  readonly #key: Uint8Array;
  readonly #routes: readonly Route[];
  readonly #cookies = new Map<Route, Uint8Array>();
  #attempt: Attempt<Route> | undefined;
  #route: Route | undefined;
  /** When the next attempt begins. */
  #attemptAt: number | undefined;
  #open = false;
  #friendBound = false;
  #challenges = 0;
  #challengesSince = -Infinity;
  #wanted = true;
  #effects: RelayBindingEffect<Route>[] = [];

  constructor(options: RelayBindingOptions<Route>, now: number) {
    this.channel = options.channel;
    this.#key = options.key;
    this.#routes = options.routes;
    this.#route = options.routes[0];
    this.#attemptAt = now;
  }

  /** Where data goes; undefined: nowhere. */
  get route(): Route | undefined {
    return this.#open ? this.#route : undefined;
  }

  step(input: RelayBindingInput<Route>, now: number): RelayBindingEffect<Route>[] {
    this.#effects = [];
    switch (input.type) {
      case 'frame':
        this.#receive(input.frame, input.route, now);
        break;
      case 'network-changed':
        this.#cookies.clear();
        this.#begin(this.#routes, now);
        break;
      case 'wanted':
        this.#want(input.wanted, now);
        break;
      case 'tick':
        break;
    }
    this.#meetDeadlines(now);
    return this.#effects;
  }

  nextDeadline(): number | undefined {
    const attempt = this.#attempt;
    if (attempt === undefined) return this.#attemptAt;
    const repeatMs = REPEAT_AT_MS[attempt.sent - 1] ?? ATTEMPT_MS;
    return attempt.startedAt + repeatMs;
  }

  #want(wanted: boolean, now: number): void {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    if (!wanted) this.#attemptAt = undefined;
    // It has not been held open: the server may have lost sight of us.
    else if (this.#attempt === undefined) this.#begin(this.#routes, now);
  }

  #receive(frame: RelayFrame, route: Route, now: number): void {
    switch (frame.type) {
      case 'data':
        this.#confirm(route, now);
        return;
      case 'bound':
        this.#confirm(route, now);
        if (frame.friendBound && !this.#friendBound) this.#effects.push({ type: 'opened' });
        this.#friendBound = frame.friendBound;
        return;
      case 'challenge':
        this.#answer(frame.cookie, route, now);
        return;
      case 'limited':
        this.#effects.push({ type: 'limited', limit: frame.limit });
        return;
      case 'bind':
    }
  }

  /** The server knows us, at `route`. */
  #confirm(route: Route, now: number): void {
    if (this.#attempt !== undefined) {
      this.#attempt = undefined;
      this.#attemptAt = this.#wanted ? now + REFRESH_MS : undefined;
      this.#route = route;
    }
    this.#setOpen();
  }

  /** The server wants to know that we are where we seem to be, whenever it likes. */
  #answer(cookie: Uint8Array, route: Route, now: number): void {
    if (now >= this.#challengesSince + CHALLENGES_MS) {
      this.#challenges = 0;
      this.#challengesSince = now;
    }
    if (++this.#challenges > MAX_CHALLENGES) return;
    this.#cookies.set(route, Uint8Array.from(cookie));
    this.#bind(route);
  }

  #meetDeadlines(now: number): void {
    if (this.#attempt === undefined && this.#attemptAt !== undefined && this.#attemptAt <= now) {
      // What still stands is only renewed.
      const { route } = this;
      this.#begin(route === undefined ? this.#routes : [route], now);
    }
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    if (now >= attempt.startedAt + ATTEMPT_MS) {
      this.#giveUp(attempt, now);
      return;
    }
    const due = 1 + REPEAT_AT_MS.filter((ms) => attempt.startedAt + ms <= now).length;
    if (attempt.sent >= due) return;
    attempt.sent = due;
    for (const route of attempt.routes) this.#bind(route);
    this.#setOpen();
  }

  #begin(routes: readonly Route[], now: number): void {
    this.#attemptAt = undefined;
    if (routes.length > 0) this.#attempt = { startedAt: now, routes, sent: 0 };
  }

  /** A route that is silent may be shut while another is not. */
  #giveUp(attempt: Attempt<Route>, now: number): void {
    this.#attempt = undefined;
    if (this.#open) this.#effects.push({ type: 'closed' });
    this.#open = false;
    this.#friendBound = false;
    this.#route = this.#routes[0];
    if (attempt.routes.length < this.#routes.length) {
      this.#begin(this.#routes, now);
      this.#meetDeadlines(now);
    } else if (this.#wanted) this.#attemptAt = now + RETRY_MS;
  }

  #setOpen(): void {
    if (this.#open) return;
    this.#open = true;
    this.#effects.push({ type: 'opened' });
  }

  #bind(route: Route): void {
    const cookie = this.#cookies.get(route);
    const { channel } = this;
    const proof = relayProof(this.#key, channel, cookie);
    const datagram = encodeRelayFrame({ type: 'bind', channel, proof, cookie });
    this.#effects.push({ type: 'send', datagram, route });
  }
}
