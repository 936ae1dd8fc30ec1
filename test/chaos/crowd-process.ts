import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Chatty } from '../../src/index.ts';
import { type FromCrowd, monotonicMs, type ToCrowd, type Toll } from './crowd-messages.ts';

/**
 * The process of many people, each an instance of the library with sockets and a key of its own. Each
 * says one line to its friend, and stays until it is told to leave.
 */
const people = new Map<string, Chatty>();
/** How far those are who have not met their friend. */
const progress = new Map<string, { readonly how: string; readonly at: number }>();
/** Its clock ticks once in so long, which is in every measurement. */
const LAG_TICK_MS = 10;
const lag = monitorEventLoopDelay({ resolution: LAG_TICK_MS });
const [cpuBefore, since] = [process.cpuUsage(), monotonicMs()];
const tell = (message: FromCrowd): void => void process.send?.(message);

async function arrive(order: Extract<ToCrowd, { type: 'arrive' }>): Promise<void> {
  const { name, friend, loadBalancers, caPem, host } = order;
  const listen = [{ host, port: 0 }];
  const me = await Chatty.open({ name, loadBalancers, caPem, listen });
  people.set(name, me);
  tell({ type: 'opened', name });
  progress.set(name, { how: 'has not registered', at: monotonicMs() });
  void follow(name, me);
  const wishedAt = monotonicMs();
  const conversation = me.connect(friend);
  void conversation.send(`from ${name}`);
  const left = new Set(['message', 'delivered']);
  for await (const event of conversation.events) {
    if (event.type === 'matched') tell({ type: 'matched', name, wishedAt, at: monotonicMs() });
    if (event.type === 'connected') tell({ type: 'connected', name, at: monotonicMs() });
    if (event.type === 'message') event.accept();
    if (event.type === 'error' && event.fatal) {
      tell({ type: 'failed', name, why: `${event.error.code}: ${event.error.message}` });
    }
    if (event.type !== 'delivered' && event.type !== 'waiting') note(name, event.type);
    if (left.delete(event.type) && left.size === 0) {
      progress.delete(name);
      tell({ type: 'met', name });
    }
  }
}

async function follow(name: string, me: Chatty): Promise<void> {
  for await (const event of me.events) {
    if (event.type === 'registered') note(name, `registered at ${event.server}`);
    if (event.type === 'no-server') note(name, `no server: ${event.error.message}`);
    if (event.type !== 'error' || !event.fatal) continue;
    tell({ type: 'failed', name, why: `${event.error.code}: ${event.error.message}` });
  }
}

function note(name: string, how: string): void {
  if (progress.has(name)) progress.set(name, { how, at: monotonicMs() });
}

function toll(): Toll {
  const { user, system } = process.cpuUsage(cpuBefore);
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - LAG_TICK_MS);
  return {
    ...{ lagP99Ms: ms(lag.percentile(99)), worstLagMs: ms(lag.max) },
    cores: (user + system) / 1_000 / (monotonicMs() - since),
  };
}

async function leave(name: string): Promise<void> {
  const me = people.get(name);
  people.delete(name);
  await me?.close();
}

process.on('disconnect', () => process.exit());
process.on('message', (message: ToCrowd) => {
  if (message.type === 'arrive') {
    arrive(message).catch((error: unknown) =>
      tell({ type: 'failed', name: message.name, why: String(error) }),
    );
  } else if (message.type === 'leave') void leave(message.name);
  else {
    const all = toll();
    for (const [name, { how, at }] of progress) {
      const agoS = Math.round((monotonicMs() - at) / 1_000);
      tell({ type: 'unmet', name, how: `${how}, ${agoS} s ago` });
    }
    void Promise.all([...people.keys()].map(leave)).then(() =>
      tell({ type: 'all-left', toll: all }),
    );
  }
});
lag.enable();
tell({ type: 'here' });
