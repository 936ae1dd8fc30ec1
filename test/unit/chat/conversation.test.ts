import { afterEach, describe, expect, it } from 'vitest';
import { Chatty, type ChattyOptions } from '../../../src/index.ts';

const everybody: Chatty[] = [];
afterEach(async () => {
  await Promise.all(everybody.splice(0).map((chatty) => chatty.close()));
});

/** Somebody on loopback whose only balancer is nobody. */
async function loner(options: Partial<ChattyOptions> = {}): Promise<Chatty> {
  const chatty = await Chatty.open({
    name: 'alice',
    loadBalancers: ['127.0.0.1:1'],
    listen: [{ host: '127.0.0.1', port: 0 }],
    ...options,
  });
  everybody.push(chatty);
  return chatty;
}

async function drained(events: AsyncIterable<{ readonly type: string }>): Promise<string[]> {
  const types: string[] = [];
  for await (const { type } of events) types.push(type);
  return types;
}

describe('a conversation', () => {
  it('is over for whoever waits for its end, before and after it is closed', async () => {
    const bob = (await loner()).connect('bob');
    const waiting = bob.end();
    bob.close();
    await waiting;
    await bob.end();
    await expect(bob.send('more')).rejects.toMatchObject({ code: 'CHATTY_USAGE' });
  });

  it('is closed by its signal, and the name is free again', async () => {
    const alice = await loner();
    const ended = new AbortController();
    const bob = alice.connect('bob', { signal: ended.signal });
    ended.abort();
    expect(await drained(bob.events)).toEqual(['waiting']);
    alice.connect('bob');
    expect(() => alice.connect('carol', { signal: ended.signal })).toThrow();
  });

  it('gives up waiting for room when the signal of a message aborts', async () => {
    const bob = (await loner()).connect('bob');
    for (let sent = 0; sent < 1_000; sent++) await bob.send('x');
    const impatient = new AbortController();
    const stuck = bob.send('one too many', { signal: impatient.signal });
    impatient.abort(new Error('too long'));
    await expect(stuck).rejects.toThrow('too long');
    expect(bob.unacknowledged).toBe(1_000);
  });

  it('goes on counting where an earlier one with the same friend ended', async () => {
    const alice = await loner();
    const first = alice.connect('bob');
    await first.send('one');
    expect(await first.send('two')).toEqual({ id: 2 });
    first.close();
    expect(await alice.connect('bob').send('three')).toEqual({ id: 3 });
  });
});

describe('somebody on the network', () => {
  it('is closed by a signal, with every conversation', async () => {
    const ended = new AbortController();
    const alice = await loner({ signal: ended.signal });
    const bob = alice.connect('bob');
    ended.abort();
    await drained(alice.events);
    expect(await drained(bob.events)).toEqual(['waiting']);
    expect(() => alice.connect('carol')).toThrow(/closed/);
    await expect(loner({ signal: ended.signal })).rejects.toThrow();
  });
});
