export type Step = { title: string; atMs: number; tookMs: number; lines: string[] };

/** A finding that ends the rehearsal; its message names the cause. */
export class Failure extends Error {}

/** What happened, told as it happens, and kept for whoever wants it as JSON. */
export class Report {
  readonly steps: Step[];
  readonly #now: () => number;
  readonly #say: (line: string) => void;

  /** `now` is in ms since the start; `steps` are those that have been told already. */
  constructor(now: () => number, say: (line: string) => void, steps: Step[] = []) {
    this.#now = now;
    this.steps = steps;
    this.#say = say;
  }

  now(): number {
    return this.#now();
  }

  /** Runs a step and says how long it took; `work` returns what else is to be told. */
  async step(title: string, work: (tell: (line: string) => void) => Promise<void>): Promise<void> {
    const atMs = this.#now();
    const step: Step = { title, atMs, tookMs: 0, lines: [] };
    this.steps.push(step);
    this.#say(`${this.steps.length}. ${title}`);
    await work((line) => {
      step.lines.push(line);
      this.#say(`${seconds(this.#now()).padStart(9)}  ${line}`);
    });
    step.tookMs = this.#now() - atMs;
    this.#say(`           (${seconds(step.tookMs)})`);
  }
}

/** `12.3 s` */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
