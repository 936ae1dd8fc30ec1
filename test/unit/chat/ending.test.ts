import { describe, expect, it } from 'vitest';
import { Ending, type EndingEffect, type EndingInput } from '../../../src/chat/ending.ts';

const EXIT: EndingEffect = { type: 'exit', code: 0 };
const GOODBYE: EndingEffect = { type: 'send-goodbye' };
const END: EndingEffect = { type: 'send-end' };

/** Runs inputs at instants and returns all effects with theirs; ticks exactly when asked to. */
class Run {
  readonly #ending = new Ending();
  #now = 0;

  /** The inputs, one after the other, now. */
  now(...types: EndingInput['type'][]): EndingEffect[] {
    return types.flatMap((type) => this.#ending.step({ type }, this.#now));
  }

  /** Lets time pass until `until`. */
  until(until: number): [number, EndingEffect][] {
    const effects: [number, EndingEffect][] = [];
    for (;;) {
      const at = this.#ending.nextDeadline();
      if (at === undefined || at > until) break;
      if (at < this.#now) throw new Error('a deadline in the past');
      this.#now = at;
      const due = this.#ending.step({ type: 'tick' }, at);
      if (due.length === 0) throw new Error(`nothing to do at ${at}`);
      effects.push(...due.map((effect): [number, EndingEffect] => [at, effect]));
    }
    this.#now = until;
    return effects;
  }
}

describe('the program still connects, delivers every line, then sends `end`', () => {
  it('waits for a friend that has never come, however long', () => {
    const run = new Run();
    run.now('line-submitted');
    expect(run.now('input-ended')).toEqual([END]);
    expect(run.until(1e9)).toEqual([]);
  });

  it('waits for a friend that has never come with nothing to send, too', () => {
    const run = new Run();
    expect(run.now('input-ended')).toEqual([END]);
    expect(run.until(1e9)).toEqual([]);
  });

  it('sends `end` once', () => {
    const run = new Run();
    expect(run.now('input-ended', 'input-ended')).toEqual([END]);
  });
});

describe('when both sides have sent `end` and every message is acknowledged', () => {
  it('closes at once, whichever comes last', () => {
    const orders: EndingInput['type'][][] = [
      ['line-delivered', 'end-acknowledged', 'friend-ended'],
      ['friend-ended', 'line-delivered', 'end-acknowledged'],
    ];
    for (const order of orders) {
      const run = new Run();
      expect(run.now('connected', 'line-submitted', 'input-ended')).toEqual([END]);
      expect(run.now(...order)).toEqual([GOODBYE]);
      expect(run.now('goodbye-over')).toEqual([EXIT]);
    }
  });

  it("takes the friend's own goodbye for an answer", () => {
    const run = new Run();
    run.now('connected', 'input-ended', 'friend-ended', 'end-acknowledged');
    expect(run.now('friend-goodbye')).toEqual([EXIT]);
  });

  it('closes when this input ends last', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'line-delivered', 'friend-ended');
    expect(run.now('input-ended', 'end-acknowledged')).toEqual([END, GOODBYE]);
  });

  it('does not close while a line is unacknowledged', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'line-submitted', 'line-delivered', 'input-ended');
    expect(run.now('friend-ended')).toEqual([]);
    expect(run.until(60_000)).toEqual([]);
  });

  it('exits a second later at the latest when nobody answers the goodbye', () => {
    const run = new Run();
    run.now('connected', 'input-ended', 'friend-ended', 'end-acknowledged');
    expect(run.until(10_000)).toEqual([[1_000, EXIT]]);
  });

  it('has to be told the end again by a friend that started anew', () => {
    const run = new Run();
    run.now('connected', 'friend-ended', 'disconnected', 'connected');
    expect(run.now('input-ended', 'end-acknowledged')).toEqual([END]);
    expect(run.now('friend-ended')).toEqual([GOODBYE]);
  });
});

describe('a side that had lines to send and whose friend keeps its input open', () => {
  it('says goodbye 5 s after connecting, when its last line is acknowledged before, and exits 0', () => {
    const run = new Run();
    run.until(700);
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered', 'end-acknowledged');
    expect(run.until(5_700)).toEqual([[5_700, GOODBYE]]);
    expect(run.now('goodbye-over')).toEqual([EXIT]);
  });

  it('says goodbye when its last line is acknowledged, where that is later', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'line-submitted', 'input-ended', 'line-delivered');
    expect(run.until(9_000)).toEqual([]);
    expect(run.now('line-delivered')).toEqual([GOODBYE]);
  });

  it('says goodbye at once where the input ends later than that', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'line-delivered');
    run.until(60_000);
    expect(run.now('input-ended')).toEqual([END, GOODBYE]);
  });

  it('exits a second later at the latest when nobody answers the goodbye', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered');
    expect(run.until(20_000)).toEqual([
      [5_000, GOODBYE],
      [6_000, EXIT],
    ]);
  });

  it('closes before the 5 s are over if the friend ends its input', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered', 'end-acknowledged');
    run.until(100);
    expect(run.now('friend-ended')).toEqual([GOODBYE]);
  });

  it('says goodbye after 5 s where only its `end` stays unacknowledged', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered', 'friend-ended');
    expect(run.until(5_500)).toEqual([[5_000, GOODBYE]]);
  });

  it('says goodbye only once the friend is back, where the connection is broken then', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered');
    run.until(4_000);
    run.now('disconnected');
    expect(run.until(6_000)).toEqual([]);
    expect(run.now('reconnected')).toEqual([GOODBYE]);
  });
});

describe('a side with nothing to send', () => {
  it("stays until the friend's `end`", () => {
    const run = new Run();
    run.now('connected', 'input-ended', 'end-acknowledged');
    expect(run.until(1e9)).toEqual([]);
    expect(run.now('friend-ended')).toEqual([GOODBYE]);
  });

  it("stays until the friend's goodbye", () => {
    const run = new Run();
    run.now('connected', 'input-ended', 'end-acknowledged');
    expect(run.until(1e9)).toEqual([]);
    expect(run.now('friend-goodbye')).toEqual([EXIT]);
  });
});

describe('on a goodbye', () => {
  it('a side whose input has ended exits 0', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered');
    expect(run.now('friend-goodbye')).toEqual([EXIT]);
  });

  it('a side whose input has ended waits up to a second for acknowledgements on their way', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'line-submitted', 'input-ended');
    expect(run.now('friend-goodbye')).toEqual([]);
    expect(run.now('line-delivered', 'line-delivered')).toEqual([EXIT]);

    const other = new Run();
    other.now('connected', 'line-submitted', 'input-ended', 'friend-goodbye');
    expect(other.until(5_000)).toEqual([[1_000, EXIT]]);

    const closed = new Run();
    closed.now('connected', 'line-submitted', 'input-ended', 'friend-goodbye');
    expect(closed.now('disconnected')).toEqual([EXIT]);
  });

  it('a side whose input is open prints `disconnected` and waits for the friend again', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'line-delivered');
    expect(run.now('friend-goodbye')).toEqual([{ type: 'print-disconnected' }]);
    expect(run.now('disconnected')).toEqual([]);
    expect(run.until(1e9)).toEqual([]);
    expect(run.now('connected', 'line-submitted')).toEqual([]);
  });

  it('if its input then ends before anyone is connected again, it exits 0 at once', () => {
    const run = new Run();
    run.now('connected', 'friend-goodbye', 'disconnected');
    run.until(60_000);
    expect(run.now('input-ended')).toEqual([END, EXIT]);
  });

  it('if its input then ends with a line unacknowledged, it waits for the friend again', () => {
    const run = new Run();
    run.now('connected', 'friend-goodbye', 'line-submitted');
    expect(run.now('input-ended')).toEqual([END]);
    expect(run.until(1e9)).toEqual([]);
    expect(run.now('connected', 'line-delivered')).toEqual([]);
    expect(run.now('end-acknowledged', 'friend-ended')).toEqual([GOODBYE]);
  });

  it('if its input ends after somebody is connected again, the chat goes on', () => {
    const run = new Run();
    run.now('connected', 'friend-goodbye', 'connected');
    expect(run.now('input-ended', 'end-acknowledged')).toEqual([END]);
    expect(run.until(1e9)).toEqual([]);
  });
});

describe('a side whose input has ended, with nothing unacknowledged, if its friend vanishes', () => {
  it('exits 0 after 5 s', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'line-delivered');
    run.until(2_000);
    expect(run.now('disconnected')).toEqual([]);
    expect(run.until(60_000)).toEqual([[7_000, EXIT]]);
  });

  it('goes on if the friend is back by then', () => {
    const run = new Run();
    run.now('connected', 'input-ended', 'disconnected');
    expect(run.until(4_999)).toEqual([]);
    expect(run.now('reconnected')).toEqual([]);
    expect(run.until(1e9)).toEqual([]);
  });

  it('exits 0 when its input ends later than that', () => {
    const run = new Run();
    run.now('connected', 'disconnected');
    run.until(60_000);
    expect(run.now('input-ended')).toEqual([END, EXIT]);
  });

  it('waits on with a line unacknowledged, or with its input open', () => {
    const run = new Run();
    run.now('connected', 'line-submitted', 'input-ended', 'disconnected');
    expect(run.until(1e9)).toEqual([]);

    const open = new Run();
    open.now('connected', 'disconnected');
    expect(open.until(1e9)).toEqual([]);
  });
});

it('decides nothing more after the exit', () => {
  const run = new Run();
  run.now('connected', 'input-ended', 'friend-goodbye');
  expect(run.now('connected', 'input-ended', 'friend-goodbye', 'tick')).toEqual([]);
  expect(run.until(1e9)).toEqual([]);
});
