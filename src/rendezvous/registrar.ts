import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { type Address, canonicalIp, formatAddress, parseHostPort } from '../base/address.ts';
import { backoffDelayMs } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { callFailure } from '../rpc/call-status.ts';
import type { ClusterTls } from '../rpc/tls-files.ts';
import { type Accepted, Registration } from './registration.ts';
import type { Member } from './member.ts';

interface RegistrarHandlers {
  /** The load balancers there are, by address. */
  balancers(balancers: readonly string[]): void;
  registered(balancer: string, accepted: Accepted): void;
  failed(balancer: string): void;
}

export interface RegistrarOptions {
  /** `HOST:PORT` or `dns:///name:port`. */
  readonly loadBalancers: readonly string[];
  readonly tls: ClusterTls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly member: () => Member;
  /** The IP addresses behind a name (default: as the operating system has them). */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  readonly handlers: RegistrarHandlers;
}

/** How often names are resolved again. */
const RESOLVE_EVERY_MS = 10_000;
/** A heartbeat: load balancers drop who misses several. */
const RENEW_EVERY_MS = 5_000;
/** The wait before a balancer that could not be reached, or does not list this server, is told again. */
const RETRY = { initialMs: 250, maxMs: RENEW_EVERY_MS } as const;
const MAX_ADDRESSES = 64;

interface Loop {
  readonly registration: Registration;
  readonly stop: AbortController;
  /** Ends the wait before the next registration. */
  wake: AbortController;
}

/** Keeps this server registered with every load balancer behind every name, for ever. */
export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #targets: readonly Address[];
  readonly #loops = new Map<string, Loop>();
  readonly #advertised = new Map<string, readonly string[]>();
  /** The addresses last found behind each name. */
  readonly #resolved = new Map<Address, readonly Address[]>();
  readonly #stop = new AbortController();

  /** @throws ChattyError CHATTY_CONFIG for what is no address of a load balancer. */
  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#targets = options.loadBalancers.map(readTarget);
  }

  /** Begins; a server without load balancers has nothing to wait for. */
  start(): void {
    if (this.#targets.length === 0) this.#options.handlers.balancers([]);
    else void this.#keepResolving();
  }

  /** Registers again at once, since what is told, or the health, has changed. */
  renew(): void {
    for (const { wake } of this.#loops.values()) wake.abort();
  }

  /** Leaves every load balancer, as far as they answer, and stops. */
  async leave(): Promise<void> {
    this.#stop.abort(new Error('this server is stopping'));
    const loops = [...this.#loops.values()];
    for (const { stop } of loops) stop.abort(new Error('this server is stopping'));
    await Promise.all(
      loops.map(async ({ registration }) => {
        try {
          await registration.leave();
        } catch (error) {
          const fields = { balancer: registration.balancer, reason: callFailure(error) };
          this.#options.logger.debug('could not deregister', fields);
        }
        registration.close();
      }),
    );
    this.#loops.clear();
  }

  /** Stops without a word. */
  stop(): void {
    this.#stop.abort(new Error('this server is stopping'));
    for (const balancer of [...this.#loops.keys()]) this.#drop(balancer);
  }

  async #keepResolving(): Promise<void> {
    const { clock } = this.#options;
    try {
      for (;;) {
        await Promise.all(this.#targets.map((target) => this.#resolve(target)));
        this.#stop.signal.throwIfAborted();
        this.#follow();
        await clock.sleep(RESOLVE_EVERY_MS, this.#stop.signal);
      }
    } catch {
      // Stopped.
    }
  }

  async #resolve(target: Address): Promise<void> {
    if (isIP(target.host) !== 0) {
      this.#resolved.set(target, [target]);
      return;
    }
    try {
      const found = await (this.#options.resolve ?? lookUp)(target.host);
      this.#resolved.set(
        target,
        found
          .slice(0, MAX_ADDRESSES)
          .map((host) => ({ host: canonicalIp(host), port: target.port })),
      );
    } catch (error) {
      // What it was last is better than nothing.
      const fields = { name: target.host, reason: reasonOf(error) };
      this.#options.logger.warn('a load balancer’s name has no address', fields);
    }
  }

  #follow(): void {
    const wanted = new Map<string, Address>();
    for (const addresses of this.#resolved.values()) {
      for (const address of addresses) wanted.set(formatAddress(address), address);
    }
    for (const balancer of [...this.#loops.keys()]) {
      if (!wanted.has(balancer)) this.#drop(balancer);
    }
    this.#options.handlers.balancers([...wanted.keys()]);
    for (const [balancer, address] of wanted) {
      if (!this.#loops.has(balancer)) this.#begin(balancer, address);
    }
  }

  #begin(balancer: string, address: Address): void {
    const { tls, clock } = this.#options;
    const stop = new AbortController();
    const registration = new Registration(balancer, address, tls, clock, stop.signal);
    const loop: Loop = { registration, stop, wake: new AbortController() };
    this.#loops.set(balancer, loop);
    void this.#keepRegistering(loop);
  }

  #drop(balancer: string): void {
    const loop = this.#loops.get(balancer);
    loop?.stop.abort(new Error('this server is stopping'));
    loop?.registration.close();
    this.#loops.delete(balancer);
    this.#advertised.delete(balancer);
  }

  async #keepRegistering(loop: Loop): Promise<void> {
    const { clock, random } = this.#options;
    let failures = 0;
    let unlisted = 0;
    while (!loop.stop.signal.aborted) {
      loop.wake = new AbortController();
      const outcome = await this.#register(loop, failures);
      failures = outcome === 'failed' ? failures + 1 : 0;
      unlisted = outcome === 'listed' ? 0 : unlisted + 1;
      const delayMs = unlisted === 0 ? RENEW_EVERY_MS : backoffDelayMs(unlisted, RETRY, random);
      const until = AbortSignal.any([loop.wake.signal, loop.stop.signal]);
      await clock.sleep(delayMs, until).catch(() => undefined);
    }
  }

  async #register(
    { registration, stop }: Loop,
    failures: number,
  ): Promise<'listed' | 'unlisted' | 'failed'> {
    const { handlers, logger, member } = this.#options;
    const { balancer } = registration;
    try {
      const known = new Set([...this.#advertised.values()].flat());
      const accepted = await registration.register(member(), [...known]);
      if (stop.signal.aborted) return 'failed';
      this.#advertised.set(balancer, accepted.advertised);
      if (failures > 0) logger.info('registered again', { balancer });
      handlers.registered(balancer, accepted);
      return accepted.listed ? 'listed' : 'unlisted';
    } catch (error) {
      if (stop.signal.aborted) return 'failed';
      const fields = { balancer, reason: callFailure(error) };
      if (failures === 0) logger.warn('could not register, trying again', fields);
      else logger.debug('could not register', fields);
      handlers.failed(balancer);
      return 'failed';
    }
  }
}

async function lookUp(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true });
  return found.map(({ address }) => address);
}

function readTarget(text: string): Address {
  const target = parseHostPort(text.startsWith('dns:///') ? text.slice('dns:///'.length) : text);
  if (target !== undefined && target.port > 0) return target;
  throw new ChattyError('CHATTY_CONFIG', `${text} is no address of a load balancer`, {
    hint: 'Write HOST:PORT, [IPv6]:PORT or dns:///name:port.',
  });
}
