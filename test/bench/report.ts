import { writeFileSync } from 'node:fs';

/** One measured figure. */
export interface Row {
  /** What was measured: `handshake p50`. */
  readonly metric: string;
  /** Whose it is: `chatty 1200`. */
  readonly subject: string;
  readonly value: number;
  /** `ms`, `MB/s`, `messages/s`, … */
  readonly unit: string;
}

/** Prints the rows as a table, a line a metric and a column a subject. */
export function report(rows: readonly Row[]): void {
  const subjects = [...new Set(rows.map((row) => row.subject))];
  const metrics = [...new Set(rows.map((row) => row.metric))];
  const lines = [['', ...subjects]];
  for (const metric of metrics) {
    const cells = subjects.map((subject) => {
      const row = rows.find((each) => each.metric === metric && each.subject === subject);
      return row === undefined ? '' : `${short(row.value)} ${row.unit}`;
    });
    lines.push([metric, ...cells]);
  }
  const widths = lines[0]?.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  for (const line of lines) {
    console.log(
      line
        .map((cell, column) => {
          const width = widths?.[column] ?? 0;
          return column === 0 ? cell.padEnd(width) : cell.padStart(width);
        })
        .join('  '),
    );
  }
}

/** Writes the rows as JSON, one a line, to `file`, or after `--json FILE` if that was given. */
export function writeRows(rows: readonly Row[], file = jsonFile()): void {
  if (file === undefined) return;
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

function jsonFile(): string | undefined {
  const index = process.argv.indexOf('--json');
  return index < 0 ? undefined : process.argv[index + 1];
}

function short(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 10 ? value.toFixed(1) : value.toFixed(3);
}
