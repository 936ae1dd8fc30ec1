import type { Address } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { encodeRelayFrame } from '../../../src/path/index.ts';
import type { QuicEndpoint } from '../../../src/quic/index.ts';
import { serveTasks } from '../worker.ts';
import { type Found, openEndpoint, portOf, Waiting } from '../product/waiting-peer.ts';

/** As long as those of two friends. */
const PAYLOAD = Buffer.alloc(1_200, 0x40);
/** So many are on their way at a time: less than a socket holds, and more than keep a server busy. */
const WINDOW = 128;
/** Then those that have not arrived never will. */
const LOST_AFTER_MS = 200;

let sides: readonly [from: QuicEndpoint, to: QuicEndpoint] | undefined;
let frame: Uint8Array = Buffer.alloc(0);

const tasks = {
  /** Two peers find each other on this server. @returns their ports. */
  meet: async (server: Address): Promise<readonly [number, number]> => {
    const [from, to] = [await openEndpoint(), await openEndpoint()];
    const alice = await Waiting.join(from, server, 'alice', 'bob');
    const matched = alice.next('match');
    await Waiting.join(to, server, 'bob', 'alice');
    const channel = channelOf(await matched);
    frame = encodeRelayFrame({ type: 'data', channel, payload: PAYLOAD });
    sides = [from, to];
    return [portOf(from), portOf(to)];
  },

  /** As much as comes through by way of `via`. */
  transfer: async ({ to: via, forMs }: { to: Address; forMs: number }) => {
    if (sides === undefined) throw new Error('the two have not met');
    const [from, to] = sides;
    let [bytes, onTheWay, arrivedAt] = [0, 0, performance.now()];
    const fill = (): void => {
      for (; onTheWay < WINDOW; onTheWay++) from.send(Uint8Array.from(frame), via);
    };
    to.onRelay = () => {
      bytes += PAYLOAD.length;
      onTheWay -= 1;
      arrivedAt = performance.now();
      if (onTheWay <= WINDOW / 2) fill();
    };
    const startedAt = performance.now();
    while (performance.now() - startedAt < forMs) {
      if (performance.now() - arrivedAt >= LOST_AFTER_MS) onTheWay = 0;
      fill();
      await systemClock.sleep(LOST_AFTER_MS / 4);
    }
    const tookMs = performance.now() - startedAt;
    await systemClock.sleep(LOST_AFTER_MS);
    to.onRelay = () => undefined;
    return { bytes, tookMs };
  },
};

function channelOf({ frame: match }: Found): string {
  const relay = match.$case === 'match' ? match.value.relays[0] : undefined;
  if (relay === undefined) throw new Error('there is no relay');
  return relay.channel.toString('hex');
}

export type RelayedTasks = typeof tasks;

serveTasks(tasks);
