import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Address } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Heard, Order, Told } from './plain-agent.ts';

const AGENT = fileURLToPath(new URL('plain-agent.ts', import.meta.url));
/** By then a packet has come that comes at all. */
const PATIENCE_MS = 10_000;

/** A socket of a plain computer. */
export interface PlainSocket {
  readonly computer: PlainComputer;
  readonly port: number;
}

let texts = 0;

/** A computer of the laboratory that only sends and hears datagrams. */
export class PlainComputer implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers = new Map<number, (value: number) => void>();
  readonly #heard: Heard[] = [];
  #wakers: (() => void)[] = [];
  #orders = 0;

  /** @param on what a command line begins with that is to run there. */
  constructor(on: readonly [string, ...string[]]) {
    const [command, ...args] = on;
    this.#child = spawn(command, [...args, process.execPath, '--import', 'tsx', AGENT], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const told = JSON.parse(line) as Told;
      if ('answer' in told) this.#answers.get(told.answer)?.(told.value);
      else {
        this.#heard.push(told);
        for (const wake of this.#wakers.splice(0)) wake();
      }
    });
  }

  /** @param port 0: any. @param echoes whether it sends back all it hears. */
  async open(host: '0.0.0.0' | '::' = '0.0.0.0', port = 0, echoes = false): Promise<PlainSocket> {
    const own = await this.#ask({ op: 'open', host, port, echoes });
    if (own === 0) throw new Error(`there is no socket on ${host} ${port} to be had`);
    return { computer: this, port: own };
  }

  /**
   * @param hops so many routers the packet passes.
   * @returns the text, which no other datagram has, and when it was sent.
   */
  async send(
    from: PlainSocket,
    to: Address,
    hops = 64,
  ): Promise<{ readonly text: string; readonly atMs: number }> {
    const text = `text ${++texts}`;
    const atMs = await this.#ask({ op: 'send', socket: from.port, ...to, text, hops });
    return { text, atMs };
  }

  async listenTcp(port: number): Promise<void> {
    await this.#ask({ op: 'listen-tcp', port });
  }

  async connectTcp(to: Address): Promise<boolean> {
    return (await this.#ask({ op: 'connect-tcp', ...to })) === 1;
  }

  /** The datagram of this text that has come to a socket. */
  heard(at: PlainSocket, text: string): Heard | undefined {
    return this.#heard.find((each) => each.socket === at.port && each.text === text);
  }

  /** How many have come to a socket. */
  countHeard(at: PlainSocket): number {
    return this.#heard.filter(({ socket }) => socket === at.port).length;
  }

  /** The same when it has come. @throws Error if it does not. */
  async hears(at: PlainSocket, text: string): Promise<Heard> {
    const giveUpAt = systemClock.now() + PATIENCE_MS;
    for (;;) {
      const heard = this.heard(at, text);
      if (heard !== undefined) return heard;
      const leftMs = giveUpAt - systemClock.now();
      if (leftMs <= 0) throw new Error(`nothing came of what had to come to port ${at.port}`);
      await new Promise<void>((resolve) => {
        this.#wakers.push(resolve);
        systemClock.setTimer(leftMs, resolve);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await ended;
  }

  #ask(order: Order): Promise<number> {
    const number = ++this.#orders;
    return new Promise((resolve) => {
      this.#answers.set(number, (value) => {
        this.#answers.delete(number);
        resolve(value);
      });
      this.#child.stdin.write(`${JSON.stringify({ order, number })}\n`);
    });
  }
}
