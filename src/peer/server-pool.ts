import { backoffDelayMs } from '../base/backoff.ts';
import type { Random } from '../base/random.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';

/**
 * The second registration starts this long after the first, or as soon as the first stands: longer
 * than a handshake to the other side of the world takes.
 */
const STAGGER_MS = 300;
/** How often the balancers are asked again while no registration stands. */
const DISCOVER = { initialMs: 200, maxMs: 5_000 };
/** How often while some stand: a friend can be met already, and each question costs TLS handshakes. */
const DISCOVER_MORE = { initialMs: 200, maxMs: 30_000 };
/** How often they are asked with all registrations standing, so that the cache stays true. */
const REFRESH_MS = 60_000;
/** Delay before a server that failed is tried again. */
const RETRY = { initialMs: 250, maxMs: 10_000 };
/** An attempt that takes longer most likely fails: others are tried beside it. */
const SLOW_MS = 1_000;
/** How many are tried at once at most. */
const MAX_ATTEMPTS = 4;
/** A registration that ended sooner counts as a failure more, not as a first one. */
const STEADY_MS = 10_000;
/** Servers that are remembered at most; the ones that failed most go first. */
const MAX_SERVERS = 64;

export interface ServerPoolOptions {
  /** On how many servers to be registered at once. */
  readonly wanted: number;
  readonly random: Random;
}

export type ServerPoolInput =
  /** A balancer's answer, or what was cached from one: the first is its round-robin choice. */
  | { readonly type: 'servers'; readonly servers: readonly Server[] }
  | { readonly type: 'registered'; readonly id: string }
  /** An attempt ended, or a registration was refused or lost. `retryAfterMs`: the server's wish. */
  | { readonly type: 'failed'; readonly id: string; readonly retryAfterMs?: number }
  /** The server is about to stop. */
  | { readonly type: 'moving'; readonly id: string }
  /** It does not answer: another is sought, in case it never does. */
  | { readonly type: 'silent'; readonly id: string }
  /** It does, after all. */
  | { readonly type: 'heard'; readonly id: string }
  /** This computer may be elsewhere: what could not be reached may be reached now. */
  | { readonly type: 'network-changed' }
  | { readonly type: 'tick' };

export type ServerPoolEffect =
  | { readonly type: 'register'; readonly server: Server }
  /** Leave the server: what replaces it stands. */
  | { readonly type: 'leave'; readonly id: string }
  | { readonly type: 'discover' };

interface Entry {
  server: Server;
  /**
   * idle: may be tried from `retryAt` on; trying: a registration is under way; registered: it
   * stands; moving: it stands, and a replacement is sought.
   */
  phase: 'idle' | 'trying' | 'registered' | 'moving';
  /** It is `moving` because it was silent. */
  silent: boolean;
  failures: number;
  retryAt: number;
  triedAt: number;
  registeredAt: number;
}

/** Decides on which servers to be registered, and when to ask the balancers for more. */
export class ServerPool {
  readonly #options: ServerPoolOptions;
  readonly #entries = new Map<string, Entry>();
  #discoverAt = 0;
  #fruitless = 0;

  constructor(options: ServerPoolOptions) {
    this.#options = options;
  }

  /** Ids of the servers a registration stands on. */
  get registered(): readonly string[] {
    return this.#in('registered', 'moving').map(([id]) => id);
  }

  /** Every server known, the ones that work first: what to cache. */
  get known(): readonly Server[] {
    return [...this.#entries.values()]
      .sort((a, b) => Number(a.phase === 'idle') - Number(b.phase === 'idle'))
      .map(({ server }) => server);
  }

  step(input: ServerPoolInput, now: number): ServerPoolEffect[] {
    const effects: ServerPoolEffect[] = [];
    this.#take(input, now, effects);
    this.#register(now, effects);
    this.#discover(now, effects);
    return effects;
  }

  nextDeadline(): number {
    const idle = this.#in('idle').map(([, { retryAt }]) => retryAt);
    const room = this.#roomAt();
    const tries = idle.map((retryAt) => Math.max(room, this.#notBefore(retryAt)));
    return Math.min(this.#discoverAt, ...tries);
  }

  #take(input: ServerPoolInput, now: number, effects: ServerPoolEffect[]): void {
    if (input.type === 'servers') {
      this.#learn(input.servers, now);
      return;
    }
    if (input.type === 'network-changed') {
      this.#tryAnew(now);
      return;
    }
    if (input.type === 'tick') return;
    const entry = this.#entries.get(input.id);
    if (entry === undefined) return;
    if (input.type === 'registered') {
      if (entry.phase !== 'trying') return;
      entry.phase = 'registered';
      entry.registeredAt = now;
      this.#fruitless = 0;
      if (this.#in('registered').length >= this.#options.wanted)
        this.#discoverAt = now + REFRESH_MS;
      this.#leaveReplaced(effects);
      this.#leaveSurplus(input.id, now, effects);
    } else if (input.type === 'moving' || input.type === 'silent') {
      if (entry.phase === 'registered') {
        entry.phase = 'moving';
        entry.silent = input.type === 'silent';
      } else if (input.type === 'moving') entry.silent = false;
      this.#seekAnother(now);
    } else if (input.type === 'heard') {
      if (entry.phase !== 'moving' || !entry.silent) return;
      entry.phase = 'registered';
      this.#leaveSurplus(input.id, now, effects);
    } else {
      // The end of what was left on purpose.
      if (entry.phase === 'idle') return;
      const stood = entry.phase === 'registered' || entry.phase === 'moving';
      if (stood && now >= entry.registeredAt + STEADY_MS) entry.failures = 0;
      entry.phase = 'idle';
      entry.failures += 1;
      const delayMs = backoffDelayMs(entry.failures, RETRY, this.#options.random);
      entry.retryAt = now + Math.max(delayMs, input.retryAfterMs ?? 0);
      if (stood) {
        this.#fruitless = 0;
        this.#seekAnother(now);
      }
    }
  }

  /**
   * All who were on a server seek another at the same time. Balancers, to whom each question costs
   * more than it costs a server to register a peer, are only asked where no server known takes this
   * one soon, or none is left to meet a friend by.
   */
  #seekAnother(now: number): void {
    const isKnown = this.#in('idle').some(([, { retryAt }]) => retryAt <= now);
    this.#discoverAt = isKnown && this.registered.length > 0 ? now + STAGGER_MS : now;
  }

  #tryAnew(now: number): void {
    for (const [, entry] of this.#in('idle')) {
      // One that is left for good is not tried before it is handed out again.
      if (entry.retryAt === Infinity) continue;
      entry.failures = 0;
      entry.retryAt = Math.min(entry.retryAt, now);
    }
    this.#fruitless = 0;
    if (this.#in('registered').length < this.#options.wanted) this.#discoverAt = now;
  }

  /** A server that moves is left once the wanted number stands without it. */
  #leaveReplaced(effects: ServerPoolEffect[]): void {
    if (this.#in('registered').length < this.#options.wanted) return;
    for (const [id, entry] of this.#in('moving')) {
      entry.phase = 'idle';
      entry.failures += 1;
      entry.retryAt = Infinity;
      effects.push({ type: 'leave', id });
    }
  }

  /** Attempts beside slow ones can bring one too many. */
  #leaveSurplus(id: string, now: number, effects: ServerPoolEffect[]): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || this.#in('registered').length <= this.#options.wanted) return;
    entry.phase = 'idle';
    entry.retryAt = now;
    effects.push({ type: 'leave', id });
  }

  #learn(servers: readonly Server[], now: number): void {
    for (const server of servers) {
      const entry = this.#entries.get(server.id);
      if (entry === undefined) {
        this.#entries.set(server.id, {
          server,
          phase: 'idle',
          silent: false,
          failures: 0,
          retryAt: now,
          triedAt: -Infinity,
          registeredAt: -Infinity,
        });
        continue;
      }
      entry.server = server;
      // It is handed out again, so whatever it was leaving for is over.
      if (entry.retryAt === Infinity) entry.retryAt = now + RETRY.maxMs;
    }
    const excess = this.#entries.size - MAX_SERVERS;
    if (excess <= 0) return;
    const worst = this.#in('idle').sort(([, a], [, b]) => b.failures - a.failures);
    for (const [id] of worst.slice(0, excess)) this.#entries.delete(id);
  }

  #register(now: number, effects: ServerPoolEffect[]): void {
    while (this.#roomAt() <= now) {
      // Insertion order is the balancer's order: the round-robin choice comes first.
      const next = this.#in('idle')
        .filter(([, { retryAt }]) => this.#notBefore(retryAt) <= now)
        .sort(([, a], [, b]) => a.failures - b.failures)[0];
      if (next === undefined) return;
      const [, entry] = next;
      entry.phase = 'trying';
      entry.triedAt = now;
      effects.push({ type: 'register', server: entry.server });
    }
  }

  #discover(now: number, effects: ServerPoolEffect[]): void {
    if (this.#discoverAt > now) return;
    effects.push({ type: 'discover' });
    if (this.#in('registered').length >= this.#options.wanted) {
      this.#discoverAt = now + REFRESH_MS;
      return;
    }
    this.#fruitless += 1;
    const pace = this.#in('registered').length === 0 ? DISCOVER : DISCOVER_MORE;
    this.#discoverAt = now + backoffDelayMs(this.#fruitless, pace, this.#options.random);
  }

  /** From when on there is room for another attempt: always, or when one under way gets slow. */
  #roomAt(): number {
    const trying = this.#in('trying').map(([, { triedAt }]) => triedAt + SLOW_MS);
    const missing = this.#options.wanted - this.#in('registered').length;
    if (missing <= 0 || trying.length >= MAX_ATTEMPTS) return Infinity;
    return trying.sort((a, b) => a - b)[trying.length - missing] ?? 0;
  }

  /** While nothing stands, a further attempt waits a moment for the one just begun. */
  #notBefore(retryAt: number): number {
    if (this.#in('registered').length > 0) return retryAt;
    const trying = this.#in('trying').map(([, { triedAt }]) => triedAt + STAGGER_MS);
    return Math.max(retryAt, ...trying);
  }

  #in(...phases: Entry['phase'][]): [string, Entry][] {
    return [...this.#entries].filter(([, { phase }]) => phases.includes(phase));
  }
}
