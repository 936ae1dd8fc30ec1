import type { Pair } from './crowd.ts';
import type { Toll } from './crowd-messages.ts';
import type { Delisting } from './delistings.ts';
import { describeFault, type Fault } from './faults.ts';
import type { Table } from './observer.ts';
import type { TalkResult } from './talk.ts';

export interface Findings {
  readonly seed: number;
  readonly seconds: number;
  readonly pairs: readonly Pair[];
  /** How long nobody arrived because the processes of the crowd lacked CPU. */
  readonly heldBackMs: number;
  /** Of each process of the crowd. */
  readonly tolls: readonly Toll[];
  /** When the first fault struck, on the clock of the pairs. */
  readonly calmUntil: number;
  readonly faults: readonly Fault[];
  readonly talks: readonly TalkResult[];
  /** Until a server that was killed or paused was in no list any more. */
  readonly delistings: readonly Delisting[];
  /** From the end of the last fault until every pair had met; undefined: some never did. */
  readonly allMetAfterMs: number | undefined;
  /** From the end of the last fault; undefined: never. */
  readonly equalAfterMs: number | undefined;
  /** From when the last peer had left. */
  readonly emptyAfterMs: number | undefined;
  readonly tables: readonly Table[] | undefined;
  readonly mishaps: readonly string[];
}

interface Times {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

/** What was found, as figures; times in milliseconds. */
export function figuresOf(findings: Findings) {
  const { pairs, talks, calmUntil, delistings, tables } = findings;
  const matchMs = (pair: Pair): number => Math.max(...pair.matchedAt.values()) - pair.wishedAt;
  const met = pairs.filter((pair) => pair.hasMet);
  const calm = met.filter((pair) => Math.max(...pair.connectedAt.values()) < calmUntil);
  const lost = pairs.filter((pair) => !pair.hasMet);
  const sum = (of: (talk: TalkResult) => number): number =>
    talks.reduce((total, talk) => total + of(talk), 0);
  const out = (kind: Delisting['kind']) => {
    const times = (alone: boolean): Times =>
      timesOf(
        delistings.filter((each) => each.kind === kind && each.alone === alone).map(({ ms }) => ms),
      );
    return { nothingElseBroken: times(true), otherFaultsToo: times(false) };
  };
  return {
    seed: findings.seed,
    seconds: findings.seconds,
    faults: findings.faults.map(
      (fault) => `${(fault.at / 1_000).toFixed(1)} ${describeFault(fault)}`,
    ),
    pairs: {
      arrived: pairs.length,
      matched: pairs.filter(({ matchedAt }) => matchedAt.size === 2).length,
      met: met.length,
      lost: lost.length,
      troubles: countsOf(pairs.flatMap(({ trouble }) => trouble ?? [])),
    },
    /** How late the generator of the load was: the second of a pair had to be told, and to open. */
    arrivalsHeldBackMs: Math.round(findings.heldBackMs),
    crowdTolls: findings.tolls,
    generatorLateMs: timesOf(met.map((pair) => pair.wishedAt - pair.arrivedAt)),
    matchMsInCalm: timesOf(calm.map(matchMs)),
    matchMsUnderFire: timesOf(met.filter((pair) => !calm.includes(pair)).map(matchMs)),
    talks: {
      said: sum(({ said }) => said),
      lost: sum((talk) => talk.lost),
      disordered: sum(({ disordered }) => disordered),
      reconnects: sum(({ reconnects }) => reconnects),
      delayMs: timesOf(talks.flatMap(({ delaysMs }) => delaysMs)),
      unclean: talks.flatMap(({ unclean }) => unclean),
    },
    killedServerOutAfterMs: out('kill'),
    silentServerOutAfterMs: out('pause'),
    allMetAfterMs: round(findings.allMetAfterMs),
    tablesEqualAfterMs: round(findings.equalAfterMs),
    tablesEmptyAfterMs: round(findings.emptyAfterMs),
    ghosts: Math.max(...(tables?.map(({ records }) => records) ?? [NaN])),
    mishaps: findings.mishaps,
  };
}

export type Figures = ReturnType<typeof figuresOf>;

/** What ought to hold and did not; empty where all is well. */
export function breachesOf(figures: Figures): string[] {
  const { pairs, talks, ghosts, mishaps } = figures;
  return [
    ...(pairs.arrived === 0 ? ['nobody arrived'] : []),
    ...(pairs.lost > 0 ? [`${pairs.lost} pairs were lost`] : []),
    ...(talks.lost > 0 ? [`${talks.lost} messages were lost`] : []),
    ...(talks.disordered > 0 ? [`${talks.disordered} messages came twice or out of order`] : []),
    ...(figures.tablesEqualAfterMs === undefined ? ['the tables did not become equal'] : []),
    ...(ghosts === 0 ? [] : [`${ghosts} ghosts were left`]),
    ...talks.unclean,
    ...mishaps,
  ];
}

export function describeFigures(figures: Figures): string {
  const { pairs, talks, killedServerOutAfterMs: killed, silentServerOutAfterMs: silent } = figures;
  const rows: [string, string][] = [
    ['seed, seconds', `${figures.seed}, ${figures.seconds}`],
    ['faults', String(figures.faults.length)],
    [
      'pairs arrived, matched, met, lost',
      [pairs.arrived, pairs.matched, pairs.met, pairs.lost].join(', '),
    ],
    ['arrivals were held back, this machine being too slow', seconds(figures.arrivalsHeldBackMs)],
    ['the generator of the load was late by', describe(figures.generatorLateMs)],
    [
      'processes of the crowd, lag of their event loops',
      figures.crowdTolls.map(describeToll).join('; '),
    ],
    ['time to match in calm', describe(figures.matchMsInCalm)],
    ['time to match under fire', describe(figures.matchMsUnderFire)],
    [
      'messages of running chats, lost, disordered',
      [talks.said, talks.lost, talks.disordered].join(', '),
    ],
    ['their delay', describe(talks.delayMs)],
    ['their reconnections', String(talks.reconnects)],
    ['a killed server is off every list, nothing else broken', describe(killed.nothingElseBroken)],
    ['the same, other faults at the same time', describe(killed.otherFaultsToo)],
    ['a silent server is off every list, nothing else broken', describe(silent.nothingElseBroken)],
    ['the same, other faults at the same time', describe(silent.otherFaultsToo)],
    ['all pairs had met after the last fault', seconds(figures.allMetAfterMs)],
    ['tables equal after the last fault', seconds(figures.tablesEqualAfterMs)],
    ['tables empty after the last peer left', seconds(figures.tablesEmptyAfterMs)],
    ['ghosts left', String(figures.ghosts)],
  ];
  const width = Math.max(...rows.map(([what]) => what.length));
  const troubles = Object.entries(pairs.troubles).map(([what, count]) => `${count} × ${what}`);
  const breaches = breachesOf(figures).map((breach) => `BREACH: ${breach}`);
  return [
    ...rows.map(([what, figure]) => `${what.padEnd(width)}  ${figure}`),
    ...troubles,
    ...breaches,
  ].join('\n');
}

function timesOf(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), worst: at(1) };
}

/** How often each was told. */
function countsOf(all: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const each of all) counts[each] = (counts[each] ?? 0) + 1;
  return counts;
}

function describe({ count, p50, p99, worst }: Times): string {
  return count === 0 ? '–' : `p50 ${p50} ms, p99 ${p99} ms, worst ${worst} ms (${count})`;
}

function describeToll({ lagP99Ms, worstLagMs, cores }: Toll): string {
  const [p99, worst] = [lagP99Ms, worstLagMs].map(Math.round);
  return `p99 ${p99} ms, worst ${worst} ms with ${cores.toFixed(2)} of a core`;
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? 'never' : `${(ms / 1_000).toFixed(1)} s`;
}

function round(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms);
}
