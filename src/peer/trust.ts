import { readFile } from 'node:fs/promises';
import { formatAddress } from '../base/address.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { formatFingerprint } from '../base/identity.ts';
import { type BalancerAddress, parseBalancerAddress } from '../base/balancer-address.ts';
import type { ServersAnswer } from '../rpc/balancer-client.ts';
import { authoritiesOf, type BalancerTrust } from '../rpc/balancer-trust.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { type BalancerStore, isLoopback, type StoredCluster } from './balancer-store.ts';

/** Of more balancers than this, one that answers is not believed. */
const MAX_TOLD = 16;

export interface BalancerTrustOptions {
  /** The balancers the user named. */
  readonly loadBalancers: readonly BalancerAddress[];
  /** The authority the user named, PEM (`readCaFile`). */
  readonly caPem?: string | undefined;
  /** Refuse a balancer that nothing is known of. */
  readonly strict: boolean;
  /** Absent: nothing is known from last time, and nothing is kept. */
  readonly store?: BalancerStore | undefined;
  /** Something could not be stored: the chat goes on without. */
  readonly onStoreError: (error: ChattyError) => void;
}

/**
 * By what each load balancer is known: the pin after its address, the user's CA, the CA it had on
 * first use; and what was learned under each CA from last time and this.
 */
export class BalancerTrustBook {
  readonly #options: BalancerTrustOptions;
  /** Stored pins of the balancers the user named. */
  readonly #pins = new Map<string, Uint8Array>();
  /** By CA, its pin as text. */
  readonly #clusters = new Map<string, StoredCluster>();
  /** The cluster whose balancer answered last, and is not on loopback. */
  #answered: string | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: BalancerTrustOptions) {
    this.#options = options;
  }

  /** Reads what is stored of the balancers named. @throws ChattyError CHATTY_KEY_FILE */
  static async open(options: BalancerTrustOptions): Promise<BalancerTrustBook> {
    const book = new BalancerTrustBook(options);
    await Promise.all(options.loadBalancers.map((address) => book.#load(address)));
    return book;
  }

  async #load(address: BalancerAddress): Promise<void> {
    const { store, caPem } = this.#options;
    if (store === undefined || isLoopback(address)) return;
    let pin = address.pin;
    if (pin === undefined && caPem === undefined) {
      pin = await store.pinOf(address);
      if (pin !== undefined) this.#pins.set(formatAddress(address), pin);
    }
    const cluster = pin === undefined ? undefined : await store.cluster(pin);
    if (cluster !== undefined) this.#clusters.set(formatFingerprint(cluster.pin), cluster);
  }

  /** Balancers learned earlier, each with the pin of the cluster that named it. */
  get learned(): readonly BalancerAddress[] {
    return [...this.#clusters.values()].flatMap(({ pin, balancers }) =>
      balancers.map((address) => ({ ...address, pin })),
    );
  }

  /** Servers that worked last time. */
  get cachedServers(): readonly Server[] {
    return [...this.#clusters.values()].flatMap(({ servers }) => servers);
  }

  /** @throws ChattyError CHATTY_UNTRUSTED if nothing is known of the balancer and that is too little. */
  trustFor(address: BalancerAddress): BalancerTrust {
    const { caPem, strict } = this.#options;
    if (address.pin === undefined && caPem !== undefined) return { kind: 'ca', pem: caPem };
    const pin = address.pin ?? this.#pins.get(formatAddress(address));
    if (pin !== undefined) {
      const cluster = this.#clusters.get(formatFingerprint(pin));
      // With the CA at hand its certificate need not be looked at first: a round trip less.
      return cluster === undefined
        ? { kind: 'pin', sha256: pin }
        : { kind: 'ca', pem: cluster.caPem };
    }
    if (!strict) return { kind: 'first-use' };
    throw new ChattyError(
      'CHATTY_UNTRUSTED',
      `nothing is known of the load balancer ${formatAddress(address)}, and --strict refuses first use`,
      {
        hint:
          'Ask whoever runs the cluster for its ca.pem (--ca FILE) or its pin ' +
          '(HOST:PORT#sha256-…).',
      },
    );
  }

  /** Learns from a balancer's answer: its CA on first use, its cluster's balancers. */
  answered(address: BalancerAddress, answer: ServersAnswer): void {
    const { caFingerprint: pin, caPem, response } = answer;
    // A local cluster makes a new CA at each start: what is on loopback is met anew each time.
    if (isLoopback(address)) return;
    const key = formatFingerprint(pin);
    const cluster: StoredCluster = {
      pin,
      caPem,
      balancers: balancersOf([formatAddress(address), ...response.loadBalancers]),
      servers: this.#clusters.get(key)?.servers ?? response.servers,
    };
    this.#clusters.set(key, cluster);
    this.#answered = key;
    this.#keepPin(address, pin);
    this.#write((store) => store.keepCluster(cluster));
  }

  /** Only what the user named is kept by address: others are known through their cluster. */
  #keepPin(address: BalancerAddress, pin: Uint8Array): void {
    const { loadBalancers, caPem } = this.#options;
    const place = formatAddress(address);
    const named = loadBalancers.find((each) => formatAddress(each) === place);
    if (named === undefined) return;
    const verified = named.pin !== undefined || caPem !== undefined;
    const kept = this.#pins.has(place);
    this.#pins.set(place, pin);
    if (verified || !kept) this.#write((store) => store.keepPin(address, pin, verified));
  }

  /** The servers that work now: what to try first next time. */
  keepServers(servers: readonly Server[]): void {
    const cluster = this.#clusters.get(this.#answered ?? '');
    if (cluster === undefined) return;
    const next = { ...cluster, servers };
    this.#clusters.set(formatFingerprint(cluster.pin), next);
    this.#write((store) => store.keepCluster(next));
  }

  /** Resolves when everything learned so far is on disk, or cannot be. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #write(write: (store: BalancerStore) => Promise<void>): void {
    const { store, onStoreError } = this.#options;
    if (store === undefined) return;
    this.#writing = this.#writing
      .then(() => write(store))
      .catch((error: unknown) => onStoreError(error as ChattyError));
  }
}

/**
 * Reads the file given with `--ca`.
 * @throws ChattyError CHATTY_KEY_FILE that names the file and what is wrong with it.
 */
export async function readCaFile(path: string): Promise<string> {
  try {
    const pem = await readFile(path, 'utf8');
    authoritiesOf(pem);
    return pem;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing ? 'there is no such file' : reasonOf(error);
    throw new ChattyError('CHATTY_KEY_FILE', `cannot use the CA file ${path}: ${why}`, {
      hint: "Name the cluster's ca.pem.",
      cause: error,
    });
  }
}

/** What a balancer tells of others, without those that are no addresses and without repetition. */
function balancersOf(told: readonly string[]): BalancerAddress[] {
  return [...new Set(told.slice(0, MAX_TOLD))]
    .map(parseBalancerAddress)
    .filter((address) => address !== undefined);
}
