import { describe, expect, it } from 'vitest';
import { PathSilence } from '../../../src/peer/path-silence.ts';

const NEAR = { remote: { host: '192.0.2.1', port: 4001 }, rttMs: 1 };
const FAR = { remote: { host: '192.0.2.2', port: 4002 }, rttMs: 200 };
const OTHER = { host: '192.0.2.3', port: 4001 };
const DATA = 1_200;
const ACKNOWLEDGEMENT = 48;

/** Sends at these times; those at which silence was found. */
function found(
  silence: PathSilence,
  path: typeof NEAR,
  times: readonly number[],
  bytes = DATA,
): number[] {
  return times.filter((now) => silence.sent(bytes, path, now));
}

describe('the silence of a path', () => {
  it('is found when what was sent is sent again and again, once', () => {
    const silence = new PathSilence();
    expect(found(silence, NEAR, [0, 30, 90, 210])).toEqual([]);
    expect(silence.isSilent(NEAR.remote)).toBe(false);
    expect(found(silence, NEAR, [450, 930, 1_890])).toEqual([450]);
    expect(silence.isSilent(NEAR.remote)).toBe(true);
    expect(silence.isSilent(OTHER)).toBe(false);
  });

  it('is nothing to speak of before three round trips', () => {
    const silence = new PathSilence();
    expect(found(silence, FAR, [0, 300, 599])).toEqual([]);
    expect(found(silence, FAR, [600])).toEqual([600]);
  });

  it.each([
    ['what came from there', NEAR.remote, []],
    ['not what came from elsewhere', OTHER, [450]],
  ])('is broken by anything: %s', (_what, from, expected) => {
    const silence = new PathSilence();
    found(silence, NEAR, [0, 90, 210]);
    silence.heard(from);
    expect(found(silence, NEAR, [450])).toEqual(expected);
  });

  it('ends with what is heard, and is found again no sooner than 5 s later', () => {
    const silence = new PathSilence();
    expect(found(silence, NEAR, [0, 300])).toEqual([300]);
    silence.heard(NEAR.remote);
    expect(silence.isSilent(NEAR.remote)).toBe(false);
    const times = Array.from({ length: 60 }, (_, index) => 400 + index * 100);
    expect(found(silence, NEAR, times)).toEqual([5_300]);
  });

  it('is not that of acknowledgements, which nobody answers', () => {
    const times = Array.from({ length: 100 }, (_, index) => index * 50);
    expect(found(new PathSilence(), NEAR, times, ACKNOWLEDGEMENT)).toEqual([]);
  });

  it('is not that between two things said', () => {
    const silence = new PathSilence();
    expect(found(silence, NEAR, [0, 1_500, 3_000, 4_500])).toEqual([]);
    expect(found(new PathSilence(), FAR, [0, 1_300, 2_600])).toEqual([]);
  });

  it('is not that of the path before', () => {
    const silence = new PathSilence();
    found(silence, NEAR, [0, 200]);
    expect(found(silence, { ...NEAR, remote: OTHER }, [300, 400])).toEqual([]);
    expect(silence.isSilent(OTHER)).toBe(false);
  });
});
