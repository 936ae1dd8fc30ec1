import { type Address, formatAddress } from '../base/address.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import { EventQueue } from '../base/event-queue.ts';
import {
  compareBytes,
  formatFingerprint,
  type Identity,
  parseFingerprint,
} from '../base/identity.ts';
import { type Logger, silentLogger } from '../base/logger.ts';
import { requireName } from '../base/name.ts';
import { type Random, systemRandom } from '../base/random.ts';
import { BalancerStore } from '../peer/balancer-store.ts';
import { noServerError } from '../peer/discovery.ts';
import {
  createPeerIdentity,
  nextSessionStart,
  openIdentity,
  personDirectory,
} from '../peer/identity-store.ts';
import { expectedKey, KnownPeers } from '../peer/known-peers.ts';
import { PeerNode } from '../peer/peer-node.ts';
import { BalancerTrustBook } from '../peer/trust.ts';
import { type BalancerAddress, parseBalancerAddress } from '../base/balancer-address.ts';
import { Conversation } from './conversation.ts';
import type { ConversationMemory } from './session.ts';

/** On how many servers a peer waits at once: the loss of one then costs nothing. */
const REGISTRATIONS = 2;

export interface ChattyOptions {
  /** One's own name; 1 to 64 bytes of UTF-8 without control characters. */
  readonly name: string;
  /** Load balancers, each `HOST:PORT` or `HOST:PORT#sha256-…` (the pin of the cluster's CA). */
  readonly loadBalancers: readonly string[];
  /** Directory that keeps keys, known friends and known servers; default: all in memory. */
  readonly state?: string | undefined;
  /** The cluster's CA, PEM: balancers must be certified by it. */
  readonly caPem?: string | undefined;
  /** Refuse a balancer of which neither CA, pin nor earlier use is known (default false). */
  readonly strict?: boolean | undefined;
  /** Local addresses to bind, one a family; default: all of both, free ports. */
  readonly listen?: readonly Address[] | undefined;
  /** On how many servers to wait at once, 1 to 3 (default 2). */
  readonly registrations?: number | undefined;
  /**
   * Whether servers may pass on what friends say, encrypted, until there is a direct path and where
   * there is none (default true).
   */
  readonly relay?: boolean | undefined;
  /**
   * Whether the router may be asked to lead one of its ports here (PCP, NAT-PMP, UPnP), for as long as
   * this is open (default true); never where all servers are on this computer.
   */
  readonly portMapping?: boolean | undefined;
  /** Closes everything when it aborts, as `close` does. */
  readonly signal?: AbortSignal | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

export type ChattyEvent =
  /** Waiting on a server now, which sees this peer at `observed`. */
  | {
      readonly type: 'registered';
      readonly server: string;
      readonly observed: string | undefined;
    }
  /** Nobody could be asked, or nobody had a server; goes on trying. */
  | { readonly type: 'no-server'; readonly error: ChattyError }
  /** `fatal`: this peer can't go on under its name. */
  | { readonly type: 'error'; readonly error: ChattyError; readonly fatal: boolean };

export interface ConnectOptions {
  /** The friend's key as `sha256-…`, learned by another way: nobody else is accepted. */
  readonly friendKey?: string | undefined;
  /** Closes the conversation when it aborts, without a word to the friend. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One person on the network: finds friends through a cluster and talks with them directly.
 *
 * @example
 * await using me = await Chatty.open({ name: 'alice', loadBalancers: ['lb.example:50050'] });
 * const bob = me.connect('bob');
 * await bob.send('Hello!');
 * for await (const event of bob.events) {
 *   if (event.type === 'message') {
 *     console.log(event.text);
 *     event.accept();
 *   }
 * }
 */
export class Chatty implements AsyncDisposable {
  readonly name: string;
  readonly #node: PeerNode;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #known: KnownPeers;
  readonly #trust: BalancerTrustBook;
  readonly #events: EventQueue<ChattyEvent>;
  readonly #identity: Identity;
  readonly #conversations = new Map<string, Conversation>();
  /**
   * By friend, what the last conversation leaves to the next: ids stay unique while the program runs,
   * and what it has taken comes to it once.
   */
  readonly #memories = new Map<string, ConversationMemory>();
  #forgetSignal: () => void = () => undefined;
  #closing: Promise<void> | undefined;

  private constructor(parts: {
    readonly name: string;
    readonly node: PeerNode;
    readonly clock: Clock;
    readonly startedAt: number;
    readonly known: KnownPeers;
    readonly trust: BalancerTrustBook;
    readonly events: EventQueue<ChattyEvent>;
    readonly identity: Identity;
  }) {
    this.name = parts.name;
    this.#node = parts.node;
    this.#clock = parts.clock;
    this.#startedAt = parts.startedAt;
    this.#known = parts.known;
    this.#trust = parts.trust;
    this.#events = parts.events;
    this.#identity = parts.identity;
  }

  /**
   * Reads or makes the key, opens the sockets and begins to look for servers; does not wait for one.
   * @throws ChattyError CHATTY_USAGE (name, addresses), CHATTY_KEY_FILE, CHATTY_PLATFORM (no QUIC
   * here), CHATTY_PORT_IN_USE; the signal's reason if it has aborted.
   */
  static async open(options: ChattyOptions): Promise<Chatty> {
    options.signal?.throwIfAborted();
    const clock = options.clock ?? systemClock;
    const random = options.random ?? systemRandom;
    const startedAt = clock.now();
    const name = requireName(options.name, 'your name');
    const loadBalancers = options.loadBalancers.map(requireBalancer);
    if (loadBalancers.length === 0) {
      throw new ChattyError('CHATTY_USAGE', 'no load balancer is named', {
        hint: 'Name at least one: HOST:PORT.',
      });
    }
    const registrations = options.registrations ?? REGISTRATIONS;
    if (![1, 2, 3].includes(registrations)) {
      throw new ChattyError('CHATTY_USAGE', `registrations is ${registrations}, but 1 to 3 can be`);
    }

    const events = new EventQueue<ChattyEvent>((event) => event.type === 'error' && event.fatal);
    const report = (error: ChattyError, fatal: boolean): void =>
      events.push({ type: 'error', error, fatal });
    const { state } = options;
    const person = state === undefined ? undefined : personDirectory(state, name);
    const wallClock = clock.wallClock();
    const [identity, sessionStart, known, trust] = await Promise.all([
      person === undefined ? createPeerIdentity() : openIdentity(person),
      person === undefined ? BigInt(wallClock) : nextSessionStart(person, wallClock),
      KnownPeers.open(person),
      BalancerTrustBook.open({
        loadBalancers,
        caPem: options.caPem,
        strict: options.strict ?? false,
        store: state === undefined ? undefined : new BalancerStore(state),
        onStoreError: (error) => report(error, false),
      }),
    ]);
    const node = await PeerNode.open({
      name,
      identity,
      session: { startedAt: sessionStart, nonce: Buffer.from(random.bytes(16)) },
      clock,
      random,
      logger: options.logger ?? silentLogger,
      registrations,
      relayRefused: options.relay === false,
      portMapping: options.portMapping ?? true,
      discovery: {
        loadBalancers,
        learned: trust.learned,
        trustFor: (address) => trust.trustFor(address),
        answered: (address, answer) => trust.answered(address, answer),
      },
      cachedServers: trust.cachedServers,
      ...(options.listen === undefined ? {} : { listen: options.listen }),
      events: {
        registered: (server, observed) =>
          events.push({
            type: 'registered',
            server: formatAddress(server),
            observed: observed === undefined ? undefined : formatAddress(observed),
          }),
        noServer: (failures) => events.push({ type: 'no-server', error: noServerError(failures) }),
        refused: (error) => report(error, true),
        servers: (servers) => trust.keepServers(servers),
      },
    });
    const chatty = new Chatty({ name, node, clock, startedAt, known, trust, events, identity });
    const { signal } = options;
    const onAbort = (): void => void chatty.close();
    signal?.addEventListener('abort', onAbort, { once: true });
    chatty.#forgetSignal = () => signal?.removeEventListener('abort', onAbort);
    if (signal?.aborted === true) {
      await chatty.close();
      throw signal.reason as Error;
    }
    return chatty;
  }

  /** SHA-256 of one's own public key, as `sha256-…`: what a friend names as `friendKey`. */
  get fingerprint(): string {
    return formatFingerprint(this.#identity.fingerprint);
  }

  /** What concerns this person and no friend in particular, in order. One reader. */
  get events(): AsyncIterable<ChattyEvent> {
    return this.#events;
  }

  /**
   * Begins to wait for a friend; the conversation connects when the friend wishes for `name` too, and
   * stays until it is closed.
   * @throws ChattyError CHATTY_USAGE for a name that can be none, one's own, or one that is waited
   * for already, for a key that is none, and after `close`; the signal's reason if it has aborted.
   */
  connect(friendName: string, options: ConnectOptions = {}): Conversation {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#closing !== undefined) throw new ChattyError('CHATTY_USAGE', 'this Chatty is closed');
    const friend = requireName(friendName, "the friend's name");
    if (friend === this.name) {
      throw new ChattyError('CHATTY_USAGE', 'the friend has your own name', {
        hint: 'Two people who chat need two names.',
      });
    }
    if (this.#conversations.has(friend)) {
      throw new ChattyError('CHATTY_USAGE', `there is a conversation with ${friend} already`);
    }
    const named = options.friendKey === undefined ? undefined : requireKey(options.friendKey);
    const expected = expectedKey(this.#known.get(friend), named);
    const conversation = new Conversation({
      friends: this.#node.friends,
      clock: this.#clock,
      startedAt: this.#startedAt,
      ownName: this.name,
      friend,
      expected,
      remember: (fingerprint) => this.#remember(friend, fingerprint, named),
      before: this.#memories.get(friend),
      signal,
      onClosed: (memory) => {
        this.#conversations.delete(friend);
        this.#memories.set(friend, memory);
      },
    });
    this.#conversations.set(friend, conversation);
    return conversation;
  }

  /** Leaves every server, closes every conversation without a word, and the sockets. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#forgetSignal();
    for (const conversation of [...this.#conversations.values()]) conversation.close();
    await this.#node.close();
    await Promise.all([this.#trust.flush(), this.#known.flush()]);
    this.#events.close();
  }

  #remember(friend: string, fingerprint: Uint8Array, named: Uint8Array | undefined): void {
    const verified = named !== undefined && compareBytes(named, fingerprint) === 0;
    this.#known
      .remember(friend, fingerprint, verified ? 'verified' : 'first-use', this.#clock.wallClock())
      .catch((error: unknown) =>
        this.#events.push({ type: 'error', error: error as ChattyError, fatal: false }),
      );
  }
}

function requireBalancer(text: string): BalancerAddress {
  const address = parseBalancerAddress(text);
  if (address !== undefined) return address;
  throw new ChattyError('CHATTY_USAGE', `"${text}" is no address of a load balancer`, {
    hint: 'Give HOST:PORT, [IPv6]:PORT, or either with #sha256-… after it.',
  });
}

function requireKey(text: string): Uint8Array {
  const key = parseFingerprint(text);
  if (key !== undefined) return key;
  throw new ChattyError('CHATTY_USAGE', `"${text}" is no key`, {
    hint: 'A key is written sha256- and 43 characters; chatty shows it when two are connected.',
  });
}
