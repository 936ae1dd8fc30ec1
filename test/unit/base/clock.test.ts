import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

describe('sleeping', () => {
  it('lasts as long as it was told to', async () => {
    const clock = new VirtualClock();
    const woken: number[] = [];
    const sleeping = clock.sleep(100).then(() => woken.push(clock.now()));
    clock.runUntil(99);
    await Promise.resolve();
    expect(woken).toEqual([]);
    clock.runUntil(100);
    await sleeping;
    expect(woken).toEqual([100]);
  });

  it('ends with the reason of the signal, and leaves no timer behind', async () => {
    const clock = new VirtualClock();
    const abort = new AbortController();
    const sleeping = clock.sleep(100, abort.signal);
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
    expect(clock.nextAt).toBeUndefined();
  });

  it('does not begin when the signal has ended it before', async () => {
    const clock = new VirtualClock();
    const reason = new Error('enough');
    await expect(clock.sleep(100, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(clock.nextAt).toBeUndefined();
  });
});

describe('the clock of the computer', () => {
  it('fires once, also for a delay that is over', async () => {
    let fired = 0;
    await new Promise<void>((resolve) => {
      const timer = systemClock.setTimer(-5, () => {
        fired++;
        timer.cancel();
        resolve();
      });
    });
    expect(fired).toBe(1);
  });

  it('does not fire at once for what is further away than setTimeout reaches', async () => {
    let fired = false;
    const timers = [2 ** 31, 2 ** 40, Infinity].map((delayMs) =>
      systemClock.setTimer(delayMs, () => {
        fired = true;
      }),
    );
    await systemClock.sleep(5);
    for (const timer of timers) timer.cancel();
    expect(fired).toBe(false);
  });

  it('does not fire after it was cancelled', async () => {
    let fired = false;
    systemClock
      .setTimer(0, () => {
        fired = true;
      })
      .cancel();
    await systemClock.sleep(5);
    expect(fired).toBe(false);
  });

  it('goes forwards', () => {
    const before = systemClock.now();
    expect(systemClock.now()).toBeGreaterThanOrEqual(before);
  });
});

describe('the virtual clock', () => {
  it('fires in order of time, and what is due at once in the order it was set', () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    for (const [delayMs, name] of [
      [5, 'c'],
      [1, 'a'],
      [5, 'd'],
      [3, 'b'],
      [9, 'e'],
    ] as const) {
      clock.setTimer(delayMs, () => fired.push(name));
    }
    clock.setTimer(4, () => fired.push('never')).cancel();
    while (clock.fireNext());
    expect(fired).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(clock.now()).toBe(9);
  });
});
