import type { Address } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { asChattyError, ChattyError } from '../base/errors.ts';
import {
  type BalancerAddress,
  formatBalancerAddress,
  parseBalancerAddress,
} from '../base/balancer-address.ts';
import { fetchServers, type ServersAnswer } from '../rpc/balancer-client.ts';
import type { BalancerTrust } from '../rpc/balancer-trust.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';

/** How long one balancer may take to answer. */
const ANSWER_MS = 5_000;
/** Balancers that are asked at most: those named by the user, then those they told of. */
const MAX_BALANCERS = 16;
/** More than are ever asked. */
const MAX_STUN_ADDRESSES = 16;

export interface DiscoveryOptions {
  readonly clock: Clock;
  /** The balancers the user named. */
  readonly loadBalancers: readonly BalancerAddress[];
  /** Balancers learned earlier. */
  readonly learned: readonly BalancerAddress[];
  /** By what to know a balancer; asked before each question. @throws ChattyError to refuse it. */
  trustFor(address: BalancerAddress): BalancerTrust;
  /** An answer came; the place to store what was learned. */
  answered(address: BalancerAddress, answer: ServersAnswer): void;
}

interface Answer {
  readonly servers: readonly Server[];
  readonly stunAddresses: readonly Address[];
}

/** Asks load balancers for rendezvous servers. */
export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #balancers = new Map<string, BalancerAddress>();
  readonly #asking = new Set<string>();
  readonly #failures = new Map<string, ChattyError>();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    for (const address of [...options.loadBalancers, ...options.learned]) this.#add(address);
  }

  /** Why each balancer that failed last time it was asked did. */
  get failures(): ReadonlyMap<string, ChattyError> {
    return this.#failures;
  }

  /**
   * Asks every known balancer at once; one that is still being asked is not asked again.
   * @param onServers called for each answer as it comes.
   * @returns when all that were asked have answered or failed: whether every balancer failed.
   */
  async ask(
    onServers: (servers: readonly Server[], stunAddresses: readonly Address[]) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    const idle = [...this.#balancers].filter(([key]) => !this.#asking.has(key));
    await Promise.all(
      idle.map(async ([key, address]) => {
        this.#asking.add(key);
        try {
          const { servers, stunAddresses } = await this.#askOne(address, signal);
          this.#failures.delete(key);
          if (!signal.aborted) onServers(servers, stunAddresses);
        } catch (error) {
          if (!signal.aborted) this.#failures.set(key, asChattyError(error));
        } finally {
          this.#asking.delete(key);
        }
      }),
    );
    return this.#failures.size === this.#balancers.size && idle.length > 0;
  }

  async #askOne(address: BalancerAddress, signal: AbortSignal): Promise<Answer> {
    const { clock } = this.#options;
    const trust = this.#options.trustFor(address);
    const answer = await fetchServers({ address, trust, deadlineMs: ANSWER_MS, clock, signal });
    this.#options.answered(address, answer);
    for (const text of answer.response.loadBalancers.slice(0, MAX_BALANCERS)) {
      const told = parseBalancerAddress(text);
      // Told by a balancer of this cluster, so it must be of the same cluster.
      if (told !== undefined) this.#add({ ...told, pin: answer.caFingerprint });
    }
    const { servers, stunAddresses } = answer.response;
    return { servers, stunAddresses: addressesFromWire(stunAddresses, MAX_STUN_ADDRESSES) };
  }

  #add(address: BalancerAddress): void {
    const key = formatBalancerAddress({ host: address.host, port: address.port });
    if (this.#balancers.has(key) || this.#balancers.size >= MAX_BALANCERS) return;
    this.#balancers.set(key, address);
  }
}

/** One error out of what every balancer that was asked answered. */
export function noServerError(failures: ReadonlyMap<string, ChattyError>): ChattyError {
  const all = [...failures.values()];
  const [only] = all;
  if (only !== undefined && all.every(({ code }) => code === 'CHATTY_UNTRUSTED')) return only;
  const tried = [...failures].map(([address, error]) => `  ${address}: ${error.message}`);
  return new ChattyError(
    'CHATTY_NO_SERVER',
    tried.length === 0
      ? 'no rendezvous server answered'
      : `no rendezvous server could be found:\n${tried.join('\n')}`,
    {
      hint: only?.hint ?? 'Check the address given with --loadbalancer and your connection.',
      cause: only,
    },
  );
}
