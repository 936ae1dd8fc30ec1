import { systemClock } from '../../../src/base/clock.ts';
import { Chatty, type Conversation } from '../../../src/index.ts';
import { serveTasks } from '../worker.ts';

/** The process of one person, who comes and goes under one name after another. */
const LISTEN = [{ host: '127.0.0.1', port: 0 }];
const REGISTRATIONS = 2;

let me: Chatty | undefined;
let conversation: Conversation | undefined;

const tasks = {
  /** Comes up under `name`. @returns milliseconds until it waits on as many servers as it wants. */
  open: async (options: { name: string; loadBalancer: string }): Promise<number> => {
    const startedAt = systemClock.now();
    me = await Chatty.open({
      name: options.name,
      loadBalancers: [options.loadBalancer],
      listen: LISTEN,
      registrations: REGISTRATIONS,
    });
    let registered = 0;
    for await (const event of me.events) {
      if (event.type === 'error' || event.type === 'no-server') throw event.error;
      if (++registered === REGISTRATIONS) break;
    }
    return systemClock.now() - startedAt;
  },

  /** Begins to wait for a friend, and takes in whatever it says. */
  await: (friend: string) => {
    conversation = me?.connect(friend);
    void takeAll(conversation);
  },

  /**
   * Connects to a friend who is waiting, and sends it a message at once.
   * @returns milliseconds from `connect` to each event.
   */
  connect: async (friend: string) => {
    if (me === undefined) throw new Error('not open');
    const startedAt = systemClock.now();
    conversation = me.connect(friend);
    void conversation.send('Hello!');
    const after: Partial<Record<'matched' | 'connected' | 'delivered', number>> = {};
    for await (const { type } of conversation.events) {
      if (type === 'matched' || type === 'connected' || type === 'delivered') {
        after[type] ??= systemClock.now() - startedAt;
      }
      if (type === 'delivered') break;
    }
    return after;
  },

  /** Sends a message. @returns milliseconds until it is known to have been delivered. */
  send: async (text: string): Promise<number> => {
    if (conversation === undefined) throw new Error('no conversation');
    const startedAt = systemClock.now();
    const { id } = await conversation.send(text);
    for await (const event of conversation.events) {
      if (event.type === 'delivered' && event.id === id) break;
    }
    return systemClock.now() - startedAt;
  },

  close: async () => {
    await me?.close();
  },
};

async function takeAll(from: Conversation | undefined): Promise<void> {
  for await (const event of from?.events ?? []) if (event.type === 'message') event.accept();
}

export type PersonTasks = typeof tasks;

serveTasks(tasks);
