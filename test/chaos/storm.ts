import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock as clock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import { writeClusterPki } from '../../src/rpc/cluster-pki.ts';
import { readTlsDirectory } from '../../src/rpc/tls-files.ts';
import { Cluster } from './cluster.ts';
import { Crowd } from './crowd.ts';
import { monotonicMs } from './crowd-messages.ts';
import { Delistings } from './delistings.ts';
import { describeFault, planFaults } from './faults.ts';
import type { Network } from './network.ts';
import { areEqual, Observer } from './observer.ts';
import type { Findings } from './report.ts';
import { Talk } from './talk.ts';

/** Before the first fault, at most. */
const CALM_MS = 15_000;
const CALM_SHARE = 0.25;
/** People whose friend never comes, so that the tables are never empty. */
const WAITING = 40;
const TALKING = 4;
/** On how many servers each of them waits. */
const REGISTRATIONS = 2;
/** DESIGN, invariant 5, and as long again for a busy computer. */
const EQUAL_WITHIN_MS = 60_000;
/** The idle timeout of a peer that nobody heard leave (40 s), and more. */
const EMPTY_WITHIN_MS = 60_000;
/** When nobody has met for so long, those who have not are lost. */
const NOBODY_MEETS_MS = 60_000;
const ALL_MET_WITHIN_MS = 300_000;
const POLL_MS = 100;

export interface StormOptions {
  readonly network: Network;
  readonly seed: number;
  readonly seconds: number;
  readonly pairsPerSecond: number;
  readonly say: (line: string) => void;
}

/** One run: a calm, faults by the seed while pairs keep arriving, peace, and what was found. */
export async function storm(options: StormOptions): Promise<Findings> {
  const directory = await mkdtemp(join(tmpdir(), 'chatty-chaos-'));
  try {
    return await stormIn(directory, options);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function stormIn(directory: string, options: StormOptions): Promise<Findings> {
  const { network, seed, seconds, say } = options;
  const tls = join(directory, 'tls');
  const caFile = join(tls, 'ca.pem');
  await writeClusterPki(tls);
  const cluster = new Cluster(network, tls);
  const { loadBalancers } = cluster;
  const crowd = new Crowd({ network, loadBalancers, caPem: await readFile(caFile, 'utf8') });
  const crowdHere = crowd.here();
  await cluster.start();
  const state = join(directory, 'state');
  const talkOptions = { network, loadBalancers, caFile, state };
  const talks = [
    new Talk(talkOptions, [
      ['Alice', 'p1'],
      ['Bob', 'p2'],
    ]),
    new Talk(talkOptions, [
      ['Carol', 'p2'],
      ['Dave', 'p1'],
    ]),
  ];
  await Promise.all([crowdHere, ...talks.map((talk) => talk.connected())]);
  const observer = new Observer(cluster, await readTlsDirectory(tls, 'loadbalancer'));
  crowd.addWaiting(WAITING);
  const registrations = (WAITING + TALKING) * REGISTRATIONS;
  const settled = await observer.untilTables(
    (tables) => tables.every(({ records }) => records === registrations),
    EQUAL_WITHIN_MS,
  );
  if (settled === undefined) throw new Error('the cluster did not settle before the first fault');

  const over = new AbortController();
  const startedAt = clock.now();
  const startedAtMonotonic = monotonicMs();
  const calmMs = Math.min(CALM_MS, seconds * 1_000 * CALM_SHARE);
  const faults = planFaults(seededRandom(seed), calmMs, seconds * 1_000);
  const delistings = new Delistings((host) => observer.latestAt(network.addressOf(host)));
  const arriving = new AbortController();
  const looking = observer.keepLooking(over.signal);
  const talking = talks.map((talk) => talk.keepTalking(arriving.signal));
  const arrivals = crowd.keepArriving(
    options.pairsPerSecond,
    seededRandom(seed + 1),
    arriving.signal,
  );
  say(`calm for ${(calmMs / 1_000).toFixed(0)} s, then ${faults.length} faults`);

  const blows = faults.map(async (fault) => {
    await clock.sleep(fault.at - (clock.now() - startedAt));
    say(`${(fault.at / 1_000).toFixed(1).padStart(6)} s  ${describeFault(fault)}`);
    delistings.begins(fault, clock.now());
    await cluster.begin(fault);
    await clock.sleep(fault.until - (clock.now() - startedAt));
    delistings.ends(fault, clock.now());
    await cluster.end(fault);
  });
  await clock.sleep(seconds * 1_000);
  arriving.abort();
  await Promise.all([...blows, arrivals, ...talking]);
  await cluster.allReady();
  say('peace: everything runs again, and nobody else arrives');

  const equal = observer.untilTables(areEqual, EQUAL_WITHIN_MS);
  const allMetAfterMs = await allMet(crowd);
  const [equalAfterMs, ...results] = await Promise.all([
    equal,
    ...talks.map((talk) => talk.finish(NOBODY_MEETS_MS)),
  ]);
  await crowd.leave();
  const emptyAfterMs = await observer.untilTables(
    (tables) => tables.every(({ records }) => records === 0),
    EMPTY_WITHIN_MS,
  );
  const tables = await observer.tables();
  over.abort();
  await looking;
  await cluster.stop();
  crowd.end();
  return {
    ...{ seed, seconds, faults, talks: results },
    ...{ allMetAfterMs, equalAfterMs, emptyAfterMs, tables },
    pairs: crowd.pairs,
    heldBackMs: crowd.heldBackMs,
    tolls: crowd.tolls,
    calmUntil: startedAtMonotonic + calmMs,
    delistings: delistings.all(faults, startedAt),
    mishaps: [...cluster.mishaps, ...crowd.mishaps],
  };
}

/** @returns after how long all had met; undefined if some have not. */
async function allMet(crowd: Crowd): Promise<number | undefined> {
  const startedAt = clock.now();
  let unmet = Infinity;
  let metAt = startedAt;
  for (;;) {
    const now = clock.now();
    const left = crowd.pairs.filter((pair) => !pair.hasMet).length;
    if (left === 0) return now - startedAt;
    if (left < unmet) metAt = now;
    unmet = left;
    if (now - metAt > NOBODY_MEETS_MS || now - startedAt > ALL_MET_WITHIN_MS) return undefined;
    await clock.sleep(POLL_MS);
  }
}
