import { describe, expect, it } from 'vitest';
import { firstSuccess } from '../../../src/rpc/first-success.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

/** A contest whose attempts begin and end when the test says so. */
class Contest {
  readonly clock = new VirtualClock();
  readonly begun: string[] = [];
  readonly aborted: string[] = [];
  readonly stop = new AbortController();
  readonly #settle = new Map<string, { win: () => void; lose: () => void }>();
  readonly result: Promise<string>;

  constructor(...candidates: string[]) {
    const attempt = (name: string, signal: AbortSignal): Promise<string> => {
      this.begun.push(name);
      signal.addEventListener('abort', () => this.aborted.push(name));
      return new Promise((resolve, reject) => {
        this.#settle.set(name, {
          win: () => resolve(name),
          lose: () => reject(new Error(`${name} failed`)),
        });
      });
    };
    const { clock } = this;
    const signal = this.stop.signal;
    this.result = firstSuccess(candidates, attempt, { staggerMs: 250, clock, signal });
    this.result.catch(() => undefined);
  }

  pass(ms: number): void {
    this.clock.runUntil(this.clock.now() + ms);
  }

  async win(name: string): Promise<void> {
    this.#settle.get(name)?.win();
    await turn();
  }

  async lose(name: string): Promise<void> {
    this.#settle.get(name)?.lose();
    await turn();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the first success of several', () => {
  it('begins with one, and with the next each 250 ms', () => {
    const contest = new Contest('a', 'b', 'c');
    expect(contest.begun).toEqual(['a']);
    contest.pass(249);
    expect(contest.begun).toEqual(['a']);
    contest.pass(1);
    expect(contest.begun).toEqual(['a', 'b']);
    contest.pass(250);
    expect(contest.begun).toEqual(['a', 'b', 'c']);
  });

  it('begins with the next at once when one fails', async () => {
    const contest = new Contest('a', 'b');
    await contest.lose('a');
    expect(contest.begun).toEqual(['a', 'b']);
    await contest.win('b');
    expect(await contest.result).toBe('b');
  });

  it('takes whoever succeeds first, and aborts and begins no others', async () => {
    const contest = new Contest('a', 'b', 'c');
    contest.pass(250);
    await contest.win('b');
    expect(await contest.result).toBe('b');
    expect(contest.aborted).toContain('a');
    contest.pass(10_000);
    await contest.lose('a');
    expect(contest.begun).toEqual(['a', 'b']);
  });

  it('fails with every error, in the order of the candidates, once all have failed', async () => {
    const contest = new Contest('a', 'b');
    contest.pass(250);
    await contest.lose('b');
    await contest.lose('a');
    await expect(contest.result).rejects.toMatchObject({
      errors: [new Error('a failed'), new Error('b failed')],
    });
  });

  it('fails at once where there is nobody', async () => {
    await expect(new Contest().result).rejects.toMatchObject({ errors: [] });
  });

  it('passes the abort of the whole on to who is running', async () => {
    const contest = new Contest('a', 'b');
    contest.stop.abort(new Error('enough'));
    expect(contest.aborted).toEqual(['a']);
    await contest.lose('a');
    await contest.lose('b');
    await expect(contest.result).rejects.toBeInstanceOf(AggregateError);
  });
});
