import { systemClock, type Timer } from '../../../src/base/clock.ts';

/** Waits for what a test needs; where it does not come in time, says what did. */
export async function within<Value>(
  ms: number,
  what: string,
  promise: Promise<Value>,
  seen: () => readonly string[],
): Promise<Value> {
  let timer: Timer | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = systemClock.setTimer(ms, () => {
      reject(new Error(`no ${what} within ${ms} ms; so far:\n${seen().join('\n')}`));
    });
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    timer?.cancel();
  }
}
