import type { NetworkInterfaceInfo } from 'node:os';
import { type Address, familyOf, formatAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import {
  classifyNat,
  gatherHostCandidates,
  type NatClassification,
  type NatReport,
  type Observation,
  type ServerObservation,
} from '../path/index.ts';

/** Observers asked at most: of so many computers before a second port of any. */
const MAX_OBSERVERS = 6;
/** With three words a late fourth changes nothing; with two, more are waited for until they give up. */
const ENOUGH_OBSERVERS = 3;
/** Strict networks let UDP out to this port only (HTTP/3): so many servers are asked there too. */
const STRICT_PORT = 443;
const MIN_STRICT_OBSERVERS = 2;
const SETTLED_AFTER_MS = 300;
/** From one question to the next, of those that are asked at once. */
const QUESTION_MS = 0.01;

export interface NatObserverOptions {
  readonly clock: Clock;
  /** Opens a socket for one round of questions: all its mappings are made one after the other. */
  openSocket(): Promise<Address>;
  closeSocket(local: Address): Promise<void>;
  ask(server: Address, local: Address): Promise<ServerObservation | undefined>;
  interfaces(): NodeJS.Dict<NetworkInterfaceInfo[]>;
  /** The report is another one, or has been made anew. */
  reported(report: NatReport): void;
}

/**
 * What the NAT before this peer does with IPv4. Each round of questions goes out from a socket of its
 * own: the peer's has mappings towards servers that were made at other times.
 */
export class NatObserver {
  readonly #options: NatObserverOptions;
  /** Servers' addresses, in the order to ask them in. */
  #observers: readonly Address[] = [];
  #classification: NatClassification | undefined;
  #only443 = false;
  /** Of observers, how many were known when the classification was made, or is being made. */
  #askedOf = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: NatObserverOptions) {
    this.#options = options;
  }

  get classification(): NatClassification | undefined {
    return this.#classification;
  }

  get report(): NatReport | undefined {
    const nat = this.#classification;
    if (nat === undefined) return undefined;
    const { mapping, step, lastObserved } = nat;
    return { mapping, step, lastObserved, only443: this.#only443 };
  }

  /** More servers are known; asks them where too few had been asked before. */
  learn(addresses: readonly Address[]): void {
    const known = new Map(this.#observers.map((address) => [formatAddress(address), address]));
    for (const address of addresses) {
      if (familyOf(address) === 4) known.set(formatAddress(address), address);
    }
    this.#observers = chosenOf([...known.values()]);
    if (this.#askedOf < ENOUGH_OBSERVERS && this.#observers.length > this.#askedOf) {
      void this.classify();
    }
  }

  /** A server sees this peer at an address that the classification does not know of. */
  seenAt(address: Address): void {
    if (familyOf(address) !== 4 || this.#classification?.lastObserved.host === address.host) return;
    void this.classify();
  }

  /** What is known is of another network, perhaps; so is what a round that runs will find. */
  networkChanged(): void {
    void (this.#running ?? Promise.resolve()).then(() => {
      if (!this.#closed) void this.classify();
    });
  }

  /** Asks all observers. Resolves when that is done; one round at a time. */
  classify(): Promise<void> {
    this.#askedOf = this.#observers.length;
    this.#running ??= this.#round(this.#observers).finally(() => {
      this.#running = undefined;
      // More were learned while the round ran.
      if (this.#askedOf < ENOUGH_OBSERVERS && this.#observers.length > this.#askedOf) {
        void this.classify();
      }
    });
    return this.#running;
  }

  /**
   * Finds out where the next mapping will be: one word is enough where it is known what the NAT does.
   * The report is told in any case.
   */
  async renew(): Promise<void> {
    const before = this.#classification;
    if (before === undefined) {
      await this.classify();
      return;
    }
    const words = await this.#ask(this.#observers, 1);
    const newest = words.at(-1);
    if (newest === undefined || this.#closed) return;
    this.#classification = { ...before, lastObserved: newest.mapped };
    this.#tell();
  }

  /** Where a server sees a socket; undefined: none answers. */
  async locate(local: Address): Promise<Address | undefined> {
    return (await this.#question(local, this.#observers, 1)).at(-1)?.mapped;
  }

  close(): void {
    this.#closed = true;
  }

  async #round(observers: readonly Address[]): Promise<void> {
    let own: readonly Address[] = [];
    const words = await this.#ask(observers, ENOUGH_OBSERVERS, (local) => {
      const candidates = gatherHostCandidates(this.#options.interfaces(), { 4: local.port });
      own = candidates.map(({ address }) => address);
    });
    const nat = classifyNat(words, own);
    if (nat === undefined || this.#closed) return;
    this.#classification = nat;
    this.#only443 = isOnly443(observers, words);
    this.#tell();
  }

  /** Asks from a fresh socket. */
  async #ask(
    observers: readonly Address[],
    enough: number,
    opened: (local: Address) => void = () => undefined,
  ): Promise<Observation[]> {
    if (observers.length === 0 || this.#closed) return [];
    let local: Address;
    try {
      local = await this.#options.openSocket();
    } catch {
      // No socket to be had: nothing is known, and nothing guessed.
      return [];
    }
    opened(local);
    const words = await this.#question(local, observers, enough);
    void this.#options.closeSocket(local);
    return words;
  }

  /**
   * Asks until enough have answered, or all have or have given up. One that is enough is asked alone,
   * unless it is slow: each costs a mapping.
   */
  async #question(
    local: Address,
    observers: readonly Address[],
    enough: number,
  ): Promise<Observation[]> {
    const { clock } = this.#options;
    const words: Observation[] = [];
    const asked = (some: readonly Address[]): Promise<unknown> =>
      Promise.all(
        some.map(async (server, index) => {
          // Mappings are made in the order of the questions; answers overtake each other.
          const at = clock.now() + index * QUESTION_MS;
          const word = await this.#options.ask(server, local);
          if (word === undefined) return;
          words.push({ server, mapped: word.mapped, at });
        }),
      );
    const abort = new AbortController();
    const slow = clock.sleep(SETTLED_AFTER_MS, abort.signal).catch(() => undefined);
    if (enough === 1) await Promise.race([asked(observers.slice(0, 1)), slow]);
    if (words.length < enough) {
      const all = asked(observers);
      await Promise.race([all, slow]);
      if (words.length < enough) await all;
    }
    abort.abort();
    return words.sort((a, b) => a.at - b.at);
  }

  #tell(): void {
    const { report } = this;
    if (report !== undefined) this.#options.reported(report);
  }
}

function isStrict({ port }: Address): boolean {
  return port === STRICT_PORT;
}

/** Whether servers answered at port 443 that were asked elsewhere as well, and there none did. */
function isOnly443(asked: readonly Address[], words: readonly Observation[]): boolean {
  const answering = new Set(words.map(({ server }) => server.host));
  const wasAskedElsewhere = asked.some((each) => !isStrict(each) && answering.has(each.host));
  return wasAskedElsewhere && words.every(({ server }) => isStrict(server));
}

/** Of many: each computer once before any twice, but port 443 of some, if there is one. */
function chosenOf(addresses: readonly Address[]): Address[] {
  const ranked = byComputer(addresses);
  const chosen = ranked.slice(0, MAX_OBSERVERS);
  const lacking = MIN_STRICT_OBSERVERS - chosen.filter(isStrict).length;
  const others = ranked.slice(MAX_OBSERVERS).filter(isStrict).slice(0, Math.max(0, lacking));
  return [...chosen.slice(0, MAX_OBSERVERS - others.length), ...others];
}

/** The first address of each computer, then the second of each … */
function byComputer(addresses: readonly Address[]): Address[] {
  const seen = new Map<string, number>();
  const ranked = addresses.map((address) => {
    const rank = seen.get(address.host) ?? 0;
    seen.set(address.host, rank + 1);
    return { address, rank };
  });
  return ranked.sort((a, b) => a.rank - b.rank).map(({ address }) => address);
}
