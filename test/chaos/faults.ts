import type { Random } from '../../src/base/random.ts';

export const BALANCERS = ['lb1', 'lb2'] as const;
export const SERVERS = ['rv1', 'rv2', 'rv3'] as const;
export const PEERS = ['p1', 'p2'] as const;
export const HOSTS: readonly string[] = [...BALANCERS, ...SERVERS, ...PEERS];

/** What strikes a process. */
type Blow = 'kill' | 'pause' | 'terminate';

/** Times in milliseconds since the run began. */
export type Fault = { readonly at: number; readonly until: number } & (
  | { readonly kind: Blow; readonly target: string }
  | { readonly kind: 'cut'; readonly one: string; readonly other: string }
);

/** Of a hundred faults, so many are each of these. */
const SHARES = [
  { share: 22, kind: 'kill', of: SERVERS },
  { share: 12, kind: 'pause', of: SERVERS },
  { share: 14, kind: 'terminate', of: SERVERS },
  { share: 8, kind: 'kill', of: BALANCERS },
  { share: 5, kind: 'pause', of: BALANCERS },
  { share: 5, kind: 'terminate', of: BALANCERS },
  { share: 12, kind: 'cut', of: SERVERS, from: SERVERS },
  { share: 11, kind: 'cut', of: SERVERS, from: BALANCERS },
  { share: 11, kind: 'cut', of: SERVERS, from: PEERS },
] as const;

/** From the beginning of one fault to that of the next: some overlap, some stand alone. */
const PAUSE_MS = { least: 2_500, most: 7_000 };
/** How long one lasts: some are over before anybody notices, some long after. */
const LASTS_MS = { least: 1_500, most: 13_000 };
/** A process is left alone that long after it came back. */
const RESPITE_MS = 3_000;

/** What happens from `from` to `until`, by a seed alone; the last faults end with it. */
export function planFaults(random: Random, from: number, until: number): Fault[] {
  const faults: Fault[] = [];
  const free = new Map<string, number>();
  for (let at = from; at < until - LASTS_MS.least; at += between(random, PAUSE_MS)) {
    const fault = pick(random, at, Math.min(until, at + between(random, LASTS_MS)));
    const key = fault.kind === 'cut' ? [fault.one, fault.other].sort().join() : fault.target;
    if ((free.get(key) ?? 0) > at) continue;
    free.set(key, fault.until + RESPITE_MS);
    faults.push(fault);
  }
  return faults;
}

export function describeFault(fault: Fault): string {
  const what =
    fault.kind === 'cut' ? `cut ${fault.one} | ${fault.other}` : `${fault.kind} ${fault.target}`;
  return `${what} for ${((fault.until - fault.at) / 1_000).toFixed(1)} s`;
}

function pick(random: Random, at: number, until: number): Fault {
  let left = random.below(SHARES.reduce((sum, { share }) => sum + share, 0));
  for (const chance of SHARES) {
    left -= chance.share;
    if (left >= 0) continue;
    const target = oneOf(random, chance.of);
    if (chance.kind !== 'cut') return { at, until, kind: chance.kind, target };
    const others = chance.from.filter((other) => other !== target);
    return { at, until, kind: 'cut', one: target, other: oneOf(random, others) };
  }
  throw new RangeError('no share is left');
}

function oneOf(random: Random, all: readonly string[]): string {
  return all[random.below(all.length)] ?? '';
}

function between(random: Random, { least, most }: { least: number; most: number }): number {
  return least + random.below(most - least);
}
