import { describe, expect, it } from 'vitest';
import { CheckRounds } from '../../../src/path/check-rounds.ts';

const ALONE = { connected: false, direct: false };
const RELAYED = { connected: true, direct: false };
const DIRECT = { connected: true, direct: true };

/** Advances at every deadline until `end`; what happened, with its time in seconds. */
function run(rounds: CheckRounds, end: number, connectivity = ALONE): string[] {
  const told: string[] = [];
  for (;;) {
    const at = rounds.nextDeadline;
    if (at === undefined || at > end) return told;
    for (const event of rounds.advance(at, connectivity)) {
      const number = event.type === 'round-failed' ? ` ${event.round}` : '';
      told.push(`${at / 1000} ${event.type}${number}`);
    }
  }
}

describe('rounds of checks', () => {
  it('are three, of 4 s each, where nobody answers', () => {
    const rounds = new CheckRounds(0);
    expect(run(rounds, 60_000)).toEqual([
      '0 round-started',
      '4 round-failed 1',
      '4 round-started',
      '8 round-failed 2',
      '8 round-started',
      '12 round-failed 3',
      '12 failed',
    ]);
    expect(rounds.pending).toBe(false);
  });

  it('end with the one in which a direct path is found', () => {
    const rounds = new CheckRounds(0);
    rounds.advance(0, ALONE);
    expect(run(rounds, 60_000, DIRECT)).toEqual([]);
    expect(rounds.pending).toBe(false);
  });

  it('start over 10, 20, 40 and then every 60 s after they failed, while there is a relay', () => {
    const started = run(new CheckRounds(0), 300_000, RELAYED).filter((text, index, all) => {
      return text.endsWith('started') && !all[index - 1]?.includes('round-failed');
    });
    expect(started.map((text) => Number(text.split(' ')[0]))).toEqual([0, 22, 54, 106, 178, 250]);
  });

  it('do not start over once a direct path was found meanwhile', () => {
    const rounds = new CheckRounds(0);
    run(rounds, 12_000, RELAYED);
    expect(run(rounds, 60_000, DIRECT)).toEqual([]);
  });

  it('are as patient as at first once the failures are forgotten', () => {
    const rounds = new CheckRounds(0);
    run(rounds, 34_000, RELAYED);
    rounds.forgetFailures();
    rounds.restartNow(40_000);
    expect(run(rounds, 62_000, RELAYED).filter((text) => text.endsWith('started'))).toEqual([
      '40 round-started',
      '44 round-started',
      '48 round-started',
      '62 round-started',
    ]);
  });

  it('start over no sooner than 5 s after the last time, unless at once', () => {
    const rounds = new CheckRounds(0);
    rounds.advance(0, ALONE);
    rounds.restart(1_000);
    expect(rounds.nextDeadline).toBe(4_000);
    expect(run(rounds, 5_000, DIRECT)).toEqual(['5 round-started']);
    rounds.restartNow(5_100);
    expect(rounds.nextDeadline).toBe(5_100);
  });

  it('are as long for pairs that join as for the others', () => {
    const rounds = new CheckRounds(0);
    rounds.advance(0, ALONE);
    rounds.extend(3_000);
    expect(run(rounds, 7_000)[0]).toBe('7 round-failed 1');
  });
});
