import { systemClock } from '../../../src/base/clock.ts';
import { ChildProgram, type Ending } from '../../../src/cli/child-program.ts';
import { within } from './deadline.ts';
import type { RealCluster } from './real-cluster.ts';

/** By then whatever a test waits for has come, on a busy machine too. */
const EVENT_MS = 45_000;
const STOP_MS = 3_000;

export type Event = Readonly<Record<string, unknown>>;

interface PersonOptions {
  /** Addresses of load balancers; default: the cluster's first. */
  readonly loadBalancers?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Another computer, with keys of its own. */
  readonly state?: string;
  /** Where the commands of their version are (default: this one's). */
  readonly commands?: URL | undefined;
}

/** `bin/chatty` as somebody uses it through a pipe; every event it tells is kept. */
export class Person {
  readonly program: ChildProgram;
  readonly events: Event[] = [];
  readonly #over: Promise<void>;
  #wakers: (() => void)[] = [];

  constructor(program: ChildProgram) {
    this.program = program;
    this.#over = this.#follow();
  }

  /** Starts `chatty NAME FRIEND`. */
  static chat(
    cluster: RealCluster,
    name: string,
    friend: string,
    options: PersonOptions = {},
  ): Person {
    const { loadBalancers = cluster.loadBalancers.slice(0, 1), args = [], env } = options;
    const all = [
      ...[name, friend, '--state', options.state ?? cluster.state],
      ...loadBalancers.flatMap((address) => ['--lb', address]),
      ...args,
    ];
    return Person.run(all, env, options.commands);
  }

  /** Starts `chatty` with these arguments. */
  static run(args: readonly string[], env: NodeJS.ProcessEnv = {}, commands?: URL): Person {
    const program = new ChildProgram('chatty', args, { ...process.env, ...env }, commands);
    const person = new Person(program);
    people.add(person);
    return person;
  }

  /** The first event of this kind, from the `from`th of all events on, that is as wanted. */
  async until(
    name: string,
    wanted: (event: Event) => boolean = () => true,
    from = 0,
  ): Promise<Event> {
    const search = async (): Promise<Event> => {
      for (;;) {
        const found = this.events
          .slice(from)
          .find((each) => each['event'] === name && wanted(each));
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => this.#wakers.push(resolve));
      }
    };
    return within(EVENT_MS, name, search(), () => this.seen);
  }

  /** Waits for a message that says this. */
  hears(text: string): Promise<Event> {
    return this.until('message', (event) => event['text'] === text);
  }

  /** How it ends, and everything it told before. */
  async ended(ms = EVENT_MS): Promise<Ending> {
    const ending = await within(ms, 'end', this.program.ended, () => this.seen);
    await this.#over;
    return ending;
  }

  count(name: string): number {
    return this.events.filter((event) => event['event'] === name).length;
  }

  /** The names of the events, in order. */
  get story(): string[] {
    return this.events.map((event) => String(event['event']));
  }

  /** The texts of the messages that came, in order. */
  get heard(): string[] {
    const messages = this.events.filter((event) => event['event'] === 'message');
    return messages.map((event) => String(event['text']));
  }

  get seen(): string[] {
    return [...this.events.map((event) => JSON.stringify(event)), this.program.stderr];
  }

  say(...lines: readonly string[]): void {
    for (const line of lines) this.program.writeLine(line);
  }

  /** Ends it as Ctrl-C would. */
  async leave(): Promise<Ending> {
    this.program.signal('SIGCONT');
    return this.program.stop(systemClock, STOP_MS);
  }

  async #follow(): Promise<void> {
    for await (const event of this.program.events()) {
      this.events.push(event);
      for (const wake of this.#wakers.splice(0)) wake();
    }
  }
}

const people = new Set<Person>();

/** For `afterEach`: ends whoever is still there. */
export async function everybodyLeaves(): Promise<void> {
  const all = [...people];
  people.clear();
  await Promise.all(all.map((person) => person.leave()));
}
