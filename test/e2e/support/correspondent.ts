import { readFile } from 'node:fs/promises';
import { Chatty, type ChattyEvent, type ChattyOptions } from '../../../src/index.ts';
import type { Conversation, ConversationEvent } from '../../../src/index.ts';
import { within } from './deadline.ts';
import type { RealCluster } from './real-cluster.ts';

const EVENT_MS = 45_000;

/** Keeps what comes out of a stream of events, for whoever waits for one of them. */
class Record<Event extends { readonly type: string }> {
  readonly all: Event[] = [];
  #wakers: (() => void)[] = [];

  async follow(events: AsyncIterable<Event>, take: (event: Event) => void): Promise<void> {
    for await (const event of events) {
      this.all.push(event);
      take(event);
      for (const wake of this.#wakers.splice(0)) wake();
    }
  }

  async until<Type extends Event['type']>(
    type: Type,
    wanted: (event: Extract<Event, { type: Type }>) => boolean,
  ): Promise<Extract<Event, { type: Type }>> {
    const search = async (): Promise<Extract<Event, { type: Type }>> => {
      for (;;) {
        for (const event of this.all) {
          const found = event as Extract<Event, { type: Type }>;
          if (event.type === type && wanted(found)) return found;
        }
        await new Promise<void>((resolve) => this.#wakers.push(resolve));
      }
    };
    return within(EVENT_MS, type, search(), () => this.all.map(({ type: each }) => each));
  }
}

/** Somebody who uses the library; every event is kept. */
export class Somebody {
  readonly chatty: Chatty;
  readonly #record = new Record<ChattyEvent>();

  private constructor(chatty: Chatty) {
    this.chatty = chatty;
    void this.#record.follow(chatty.events, () => undefined);
  }

  /** On loopback, knowing the cluster's CA and, by default, its first balancer. */
  static async open(
    cluster: RealCluster,
    name: string,
    options: Partial<ChattyOptions> = {},
  ): Promise<Somebody> {
    const chatty = await Chatty.open({
      name,
      loadBalancers: cluster.loadBalancers.slice(0, 1),
      listen: [{ host: '127.0.0.1', port: 0 }],
      caPem: await readFile(cluster.caFile, 'utf8'),
      ...options,
    });
    everybody.add(chatty);
    return new Somebody(chatty);
  }

  /** Is not closed by `everybodyCloses`. */
  stays(): void {
    everybody.delete(this.chatty);
  }

  get events(): readonly ChattyEvent[] {
    return this.#record.all;
  }

  /** The address of the first server that this one waits on. */
  async server(): Promise<string> {
    return (await this.until('registered')).server;
  }

  until<Type extends ChattyEvent['type']>(
    type: Type,
  ): Promise<Extract<ChattyEvent, { type: Type }>> {
    return this.#record.until(type, () => true);
  }

  connect(friend: string, friendKey?: string): Correspondent {
    return new Correspondent(this.chatty.connect(friend, { friendKey }));
  }
}

/** One side of a conversation through the library; accepts each message as it comes. */
export class Correspondent {
  readonly conversation: Conversation;
  readonly heard: string[] = [];
  readonly #record = new Record<ConversationEvent>();

  constructor(conversation: Conversation) {
    this.conversation = conversation;
    void this.#record.follow(conversation.events, (event) => {
      if (event.type !== 'message') return;
      this.heard.push(event.text);
      event.accept();
    });
  }

  get all(): readonly ConversationEvent[] {
    return this.#record.all;
  }

  /** The names of the events, in order. */
  get story(): string[] {
    return this.#record.all.map(({ type }) => type);
  }

  count(type: ConversationEvent['type']): number {
    return this.#record.all.filter((event) => event.type === type).length;
  }

  until<Type extends ConversationEvent['type']>(
    type: Type,
    wanted: (event: Extract<ConversationEvent, { type: Type }>) => boolean = () => true,
  ): Promise<Extract<ConversationEvent, { type: Type }>> {
    return this.#record.until(type, wanted);
  }

  async hears(text: string): Promise<void> {
    await this.until('message', (event) => event.text === text);
  }

  /** Says something, and waits until it is known to have been delivered. */
  async tells(text: string): Promise<void> {
    const { id } = await this.conversation.send(text);
    await this.until('delivered', (event) => event.id === id);
  }
}

const everybody = new Set<Chatty>();

/** For `afterEach`: closes whoever is still there. */
export async function everybodyCloses(): Promise<void> {
  const all = [...everybody];
  everybody.clear();
  await Promise.all(all.map((chatty) => chatty.close()));
}
