import { systemClock as clock } from '../../src/base/clock.ts';
import { monotonicMs } from './crowd-messages.ts';
import type { Network } from './network.ts';
import { Program } from './program.ts';

const LINE_EVERY_MS = 500;
const POLL_MS = 50;
const ENDS_WITHIN_MS = 20_000;

/** Where and how the two run. */
interface TalkOptions {
  readonly network: Network;
  readonly loadBalancers: readonly string[];
  readonly caFile: string;
  readonly state: string;
}

/** Two real commands that talk with each other throughout, a line every half second either way. */
export class Talk {
  readonly #sides: readonly [Side, Side];

  /** @param people either's name and computer. */
  constructor(
    options: TalkOptions,
    people: readonly [readonly [string, string], readonly [string, string]],
  ) {
    const [[one, oneHost], [other, otherHost]] = people;
    this.#sides = [
      new Side(options, oneHost, one, other),
      new Side(options, otherHost, other, one),
    ];
  }

  async connected(): Promise<void> {
    await Promise.all(this.#sides.map((side) => side.connected));
  }

  async keepTalking(signal: AbortSignal): Promise<void> {
    for (let number = 1; !signal.aborted; number++) {
      for (const side of this.#sides) side.say(`${number} ${monotonicMs()}`);
      await clock.sleep(LINE_EVERY_MS, signal).catch(() => undefined);
    }
  }

  /** Waits, for so long at most, until everything said has been heard; then both end as they should. */
  async finish(patienceMs: number): Promise<TalkResult> {
    const giveUpAt = clock.now() + patienceMs;
    while (this.#lost > 0 && clock.now() < giveUpAt) await clock.sleep(POLL_MS);
    for (const side of this.#sides) side.program.endInput();
    const codes = await Promise.all(this.#sides.map((side) => side.end()));
    return {
      said: this.#sides.reduce((sum, { said }) => sum + said, 0),
      lost: this.#lost,
      disordered: this.#sides.reduce((sum, { disordered }) => sum + disordered, 0),
      delaysMs: this.#sides.flatMap(({ delaysMs }) => delaysMs),
      reconnects: this.#sides.reduce((sum, { reconnects }) => sum + reconnects, 0),
      unclean: codes.flatMap((code, at) =>
        code === '0' ? [] : [`${this.#sides[at]?.name ?? ''} ended with ${code}`],
      ),
    };
  }

  get #lost(): number {
    const [one, other] = this.#sides;
    return one.said - other.heard.size + other.said - one.heard.size;
  }
}

export interface TalkResult {
  readonly said: number;
  readonly lost: number;
  /** Heard twice, or after a later one. */
  readonly disordered: number;
  /** From a line's being said to its being heard. */
  readonly delaysMs: readonly number[];
  /** How often a connection had to be made again. */
  readonly reconnects: number;
  /** Who did not end with exit code 0. */
  readonly unclean: readonly string[];
}

class Side {
  readonly name: string;
  readonly program: Program;
  readonly connected: Promise<void>;
  readonly heard = new Set<number>();
  readonly delaysMs: number[] = [];
  said = 0;
  disordered = 0;
  reconnects = 0;
  #last = 0;

  constructor(options: TalkOptions, host: string, name: string, friend: string) {
    this.name = name;
    let nowConnected = (): void => undefined;
    this.connected = new Promise((resolve) => {
      nowConnected = resolve;
    });
    const { network, loadBalancers, caFile, state } = options;
    const args = [
      ...[name, friend, '--json', '--ca', caFile, '--state', state],
      ...loadBalancers.flatMap((address) => ['--lb', address]),
    ];
    this.program = new Program(network.on(host), 'chatty', args, (event) => {
      if (event['event'] === 'connected') nowConnected();
      if (event['event'] === 'reconnecting') this.reconnects += 1;
      if (event['event'] === 'message') this.#hear(String(event['text']));
    });
  }

  say(line: string): void {
    this.said += 1;
    this.program.say(line);
  }

  async end(): Promise<string> {
    const timer = clock.setTimer(ENDS_WITHIN_MS, () => this.program.signal('SIGKILL'));
    const { code, signal } = await this.program.ended;
    timer.cancel();
    return String(code ?? signal);
  }

  #hear(text: string): void {
    const [number = 0, saidAt = 0] = text.split(' ').map(Number);
    this.delaysMs.push(monotonicMs() - saidAt);
    if (number !== this.#last + 1) this.disordered += 1;
    this.#last = number;
    this.heard.add(number);
  }
}
