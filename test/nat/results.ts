import type { Cell } from './cells.ts';
import type { Expectation, Need, Outcome } from './expectation.ts';
import type { Meeting } from './meeting.ts';
import { modelOf, ROUTER_TYPES, type RouterType } from './router-types.ts';

/** How one field of the matrix came out. */
export interface CellResult {
  readonly cell: Cell;
  readonly expectation: Expectation;
  /** Of each run. */
  readonly meetings: readonly Meeting[];
}

/** How conversations went on when something happened to them. */
export interface Endurance {
  /** How long until a line of each was known to have arrived. */
  readonly recoveries: readonly {
    readonly cell: string;
    readonly after: string;
    readonly ms: number;
  }[];
  /** Masquerade against masquerade with loss. */
  readonly lossy: readonly Meeting[];
}

/** How a transfer on a LAN went over to a relay. */
export interface Move {
  readonly lanBytesPerSecond: number;
  readonly relayBytesPerSecond: number;
  /** The longest time in which nothing arrived. */
  readonly stallMs: number;
}

/** All that a run of the laboratory found, as it is written down. */
interface Results {
  readonly seed: number;
  readonly at: string;
  readonly cells: readonly CellResult[];
  readonly endurance: Endurance | undefined;
  readonly moves: readonly Move[];
}

const SIGNS = { direct: '●', relayed: '○', failed: '×' } as const;

/** The matrix for people, and what it comes to. */
export function describeResults(results: Results): string {
  const { cells, endurance, moves } = results;
  const shown = shownOf(cells);
  const rows = shown.map((row, index) => {
    const fields = shown
      .slice(0, index + 1)
      .map((column) => field(cells.find(({ cell }) => isPair(cell, row, column))));
    return `${row.padEnd(21)}${fields.map((each) => each.padStart(12)).join('')}`;
  });
  const head = `${''.padEnd(21)}${shown.map((type) => short(type).padStart(12)).join('')}`;
  const layouts = cells
    .filter(({ cell }) => !cell.name.includes(' × '))
    .map((result) => `${result.cell.name.padEnd(34)}${field(result)}`);
  const notes = cells.flatMap(({ cell, expectation, meetings }) =>
    meetings
      .filter(({ outcome, agree }) => outcome !== expectation.outcome || !agree)
      .map(({ outcome, agree, trouble }) => {
        const found = agree || outcome === 'failed' ? outcome : 'two different paths';
        const wanted = `${expectation.outcome} (${expectation.reason})`;
        return `${cell.name}: ${found}, not ${wanted}${trouble === undefined ? '' : `: ${trouble}`}`;
      }),
  );
  return [
    `● direct, ○ relayed, × failed; ms from the later one's first "registered" to the first line`,
    'known to have arrived / to the direct path',
    ...[head, ...rows, '', ...layouts, '', ...notes, '', ...totals(cells)],
    ...(endurance === undefined ? [] : ['', ...lasting(endurance)]),
    ...(moves.length === 0 ? [] : ['', moving(moves)]),
  ].join('\n');
}

/** The same as tables for a page. */
export function markdownOf(cells: readonly CellResult[]): string {
  const line = (fields: readonly string[]): string => `| ${fields.join(' | ')} |`;
  const shown = shownOf(cells);
  const rows = shown.map((row, index) => {
    const fields = shown.map((column, at) =>
      at > index ? '' : field(cells.find(({ cell }) => isPair(cell, row, column))),
    );
    return line([modelOf(row).label, ...fields]);
  });
  const layouts = cells
    .filter(({ cell }) => !cell.name.includes(' × '))
    .map((result) => line([result.cell.name, field(result)]));
  return [
    ...[line(['', ...shown.map(short)]), line(['---', ...shown.map(() => '---')]), ...rows],
    ...['', line(['layout', '']), line(['---', '---']), ...layouts],
  ].join('\n');
}

/** The networks that some pair was of. */
function shownOf(cells: readonly CellResult[]): RouterType[] {
  const pairs = cells.map(({ cell }) => cell).filter(({ name }) => name.includes(' × '));
  return ROUTER_TYPES.filter((type) => pairs.some(({ a, b }) => a === type || b === type));
}

function totals(cells: readonly CellResult[]): string[] {
  const count = (outcome: Outcome): number =>
    cells.filter(({ meetings }) => worstOf(meetings) === outcome).length;
  const of = (
    wanted: (expectation: Expectation) => boolean,
    pick: (meeting: Meeting) => number | undefined,
  ): string => {
    const values = cells
      .filter(({ expectation }) => wanted(expectation))
      .flatMap(({ meetings }) => meetings.flatMap((meeting) => pick(meeting) ?? []));
    return values.length === 0
      ? '–'
      : `${quantile(values, 0.5)} ms at the median, p95 ${quantile(values, 0.95)} ms (${values.length} runs)`;
  };
  const spent = (wanted: (expectation: Expectation) => boolean): string => {
    const direct = cells
      .filter(({ expectation }) => wanted(expectation))
      .flatMap(({ meetings }) => meetings.filter(({ outcome }) => outcome === 'direct'));
    const counts = direct.map(({ checks }) => checks);
    return counts.length === 0 ? '–' : `${quantile(counts, 0.5)} (p95 ${quantile(counts, 0.95)})`;
  };
  const needs =
    (need: Need) =>
    (expectation: Expectation): boolean =>
      expectation.needs.includes(need);
  const guessed = (expectation: Expectation): boolean =>
    needs('sequential-ports')(expectation) || needs('random-ports')(expectation);
  const firstByte = ({ firstByteMs }: Meeting): number | undefined => firstByteMs;
  const direct = ({ directMs }: Meeting): number | undefined => directMs;
  const apart = cells.flatMap(({ meetings }) =>
    meetings.filter(({ outcome, agree }) => outcome !== 'failed' && !agree),
  );
  return [
    `${cells.length} cells: ${count('direct')} direct, ${count('relayed')} relayed, ${count('failed')} failed`,
    `first byte: ${of(() => true, firstByte)}`,
    `direct where no port is guessed: ${of((each) => !guessed(each), direct)}`,
    `direct with sequential ports: ${of(needs('sequential-ports'), direct)}`,
    `direct with random ports: ${of(needs('random-ports'), direct)}`,
    `checks sent for a direct path, by both together: ${spent((each) => !guessed(each))}; with sequential ports ${spent(needs('sequential-ports'))}; with random ones ${spent(needs('random-ports'))}`,
    `runs whose sides ended on different paths: ${apart.length}`,
  ];
}

/** Of several runs, what can be relied on. */
function worstOf(meetings: readonly Meeting[]): Outcome {
  const outcomes = meetings.map(({ outcome }) => outcome);
  if (outcomes.includes('failed')) return 'failed';
  return outcomes.includes('relayed') ? 'relayed' : 'direct';
}

function lasting({ recoveries, lossy }: Endurance): string[] {
  const kinds = [...new Set(recoveries.map(({ after }) => after))];
  const lines = kinds.map((kind) => {
    const values = recoveries.filter(({ after }) => after === kind).map(({ ms }) => ms);
    return `after ${kind}: a line of each has arrived in ${quantile(values, 0.5)} ms at the median, ${Math.max(...values)} ms at most (${values.length} pairs)`;
  });
  const count = (is: (meeting: Meeting) => boolean): number => lossy.filter(is).length;
  const [direct, apart] = [
    count(({ outcome }) => outcome === 'direct'),
    count(({ outcome, agree }) => outcome !== 'failed' && !agree),
  ];
  return [
    ...lines,
    `masquerade × masquerade with 5 % loss, ${lossy.length} runs: ${direct} direct, ${apart} with sides on different paths`,
  ];
}

function moving(moves: readonly Move[]): string {
  const of = (pick: (move: Move) => number): number => Math.round(quantile(moves.map(pick), 0.5));
  const [lan, relay, stall] = [
    of(({ lanBytesPerSecond }) => lanBytesPerSecond / 1_000),
    of(({ relayBytesPerSecond }) => relayBytesPerSecond / 1_000),
    of(({ stallMs }) => stallMs),
  ];
  const worst = Math.round(Math.max(...moves.map(({ stallMs }) => stallMs)));
  return `a transfer from a LAN (${lan} kB/s) to a relay of 1 Mbit/s (${relay} kB/s): nothing arrived for ${stall} ms at the median, ${worst} ms at most (${moves.length} runs)`;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

/** Times are medians. */
function field(result: CellResult | undefined): string {
  if (result === undefined) return '';
  const { meetings } = result;
  const outcome = worstOf(meetings);
  if (outcome === 'failed') return SIGNS.failed;
  const median = (pick: (meeting: Meeting) => number | undefined): string =>
    String(
      quantile(
        meetings.flatMap((meeting) => pick(meeting) ?? []),
        0.5,
      ),
    );
  const times = [
    median(({ firstByteMs }) => firstByteMs),
    ...(outcome === 'direct' ? [median(({ directMs }) => directMs)] : []),
  ];
  return `${SIGNS[outcome]} ${times.join('/')}`;
}

function isPair(cell: Cell, one: RouterType, other: RouterType): boolean {
  return cell.name === `${one} × ${other}` || cell.name === `${other} × ${one}`;
}

function short(type: RouterType): string {
  return type
    .replace('symmetric-sequential', 'sym-seq')
    .replace('symmetric-random', 'sym-rand')
    .replace('masquerade', 'masq')
    .replace('ipv6-firewall', 'v6-fw');
}
