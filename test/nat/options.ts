import { CELLS, type Cell } from './cells.ts';

/** What a run is asked for, handed to the tests in its environment. */
export interface RunOptions {
  /** All cells, and repetitions. */
  readonly full: boolean;
  /** Measures what takes long, too. */
  readonly bench: boolean;
  /** Only cells whose name has one of these in it, separated by commas. */
  readonly only: string | undefined;
  /** How often the two of a cell meet. */
  readonly runs: number;
  readonly seed: number;
  /** Where the results are written. */
  readonly results: string;
}

/** One of each kind, the impossible included. */
const REPRESENTATIVE: readonly string[] = [
  'public × masquerade',
  'eim-eif × eim-apdf',
  'eim-adf × symmetric-random',
  'eim-apdf × symmetric-sequential',
  'masquerade × masquerade',
  'eim-apdf × symmetric-random',
  'masquerade × cgn',
  'public × udp-443',
  'masquerade × no-udp',
  'symmetric-random × symmetric-random',
  'ipv6-firewall × ipv6-firewall',
  'one LAN',
  'isolated LAN behind EIM',
  'two homes, one CGN without',
];

export function environmentOf({
  full,
  bench,
  only,
  runs,
  seed,
  results,
}: RunOptions): NodeJS.ProcessEnv {
  return {
    NAT_FULL: full ? 'yes' : 'no',
    NAT_BENCH: bench ? 'yes' : 'no',
    NAT_RUNS: String(runs),
    NAT_SEED: String(seed),
    NAT_RESULTS: results,
    ...(only === undefined ? {} : { NAT_ONLY: only }),
  };
}

export function optionsOf(env: NodeJS.ProcessEnv): RunOptions {
  const {
    NAT_FULL,
    NAT_BENCH,
    NAT_RUNS = '1',
    NAT_SEED = '1',
    NAT_RESULTS = 'bench-results/nat.json',
    NAT_ONLY,
  } = env;
  return {
    ...{
      full: NAT_FULL === 'yes',
      bench: NAT_BENCH === 'yes',
      runs: Number(NAT_RUNS),
      seed: Number(NAT_SEED),
    },
    ...{ results: NAT_RESULTS, only: NAT_ONLY },
  };
}

export function cellsOf({ full, only }: RunOptions): Cell[] {
  return CELLS.filter(({ name }) =>
    only === undefined
      ? full || REPRESENTATIVE.includes(name)
      : only.split(',').some((part) => name.includes(part)),
  );
}
