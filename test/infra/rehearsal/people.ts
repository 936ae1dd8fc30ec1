import { join } from 'node:path';
import type { Place } from './internet.ts';
import { Person } from './person.ts';
import { Failure, seconds } from './report.ts';

const MEET_MS = 60_000;
const HEAR_MS = 30_000;
const PAUSE_MS = 1_000;

export type Pair = readonly [one: Person, other: Person];
type Tell = (line: string) => void;

/** Everybody who chats in a rehearsal: of a pair, the first is at one home, the second at the other. */
export class People {
  readonly #homes: readonly [Place, Place];
  readonly #folder: string;
  readonly #now: () => number;
  readonly #all: Person[] = [];

  /** `folder` keeps their keys. */
  constructor(homes: readonly [Place, Place], folder: string, now: () => number) {
    this.#homes = homes;
    this.#folder = folder;
    this.#now = now;
  }

  /** Somebody pastes the command, and waits at one of the homes until a server has them. */
  async waits(command: string, name: string, friend: string): Promise<Person> {
    const person = this.#paste(command, name, friend, 0);
    await person.until('registered', MEET_MS);
    return person;
  }

  /** The friend comes to the other home; both are connected, and hear each other. */
  async joins(
    command: string,
    waiting: Person,
    name: string,
  ): Promise<{ pair: Pair; story: string }> {
    const cameAt = this.#now();
    const other = this.#paste(command, name, waiting.name, 1);
    const connected = await Promise.all(
      [waiting, other].map((person) => person.until('connected', MEET_MS)),
    );
    const pair = [waiting, other] as const;
    await this.#exchange(pair, 'hello');
    const ways = connected.map((event) => `${String(event['path'])} (${String(event['kind'])})`);
    const last = Math.max(...connected.map(({ heardAt }) => heardAt));
    const after = seconds(last - cameAt);
    const way = [...new Set(ways)].join(', ');
    return { pair, story: `connected ${after} after pasting, ${way}; words arrive both ways` };
  }

  /** Two who meet now. */
  async meet(command: string, [one, other]: readonly [string, string], tell: Tell): Promise<Pair> {
    const startedAt = this.#now();
    const waiting = await this.waits(command, one, other);
    const waits = seconds(this.#now() - startedAt);
    const { pair, story } = await this.joins(command, waiting, other);
    tell(`${one} waits ${waits} after pasting; ${other} comes: ${story}`);
    return pair;
  }

  /** Both say something, and hear it. */
  async talk(pair: Pair, text: string, tell: Tell): Promise<void> {
    const at = this.#now();
    await this.#exchange(pair, text);
    const took = Math.round(this.#now() - at);
    tell(`${pair[0].name} and ${pair[1].name} go on talking: heard both ways after ${took} ms`);
  }

  /**
   * Has two people say a line a second until stopped; then how many, once all have arrived.
   * @throws Failure if a line was not heard, or not once and in order, or the connection was lost.
   */
  talkOn([one, other]: Pair): { stop: () => void; ended: Promise<number> } {
    let isOver = false;
    const lost = (): number => one.count('reconnecting') + other.count('reconnecting');
    const talk = async (): Promise<number> => {
      const said: string[] = [];
      const lostBefore = lost();
      while (!isOver) {
        said.push(`line ${said.length}`);
        for (const person of [one, other]) person.say(said.at(-1) ?? '');
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
      for (const person of [one, other]) {
        await person.hears(said.at(-1) ?? '', HEAR_MS);
        const heard = person.heard.filter((line) => line.startsWith('line ')).join();
        if (heard === said.join()) continue;
        throw new Failure(`${person.name} did not hear each line once and in order: ${heard}`);
      }
      if (lost() > lostBefore) throw new Failure('the connection of two people who chat was lost');
      return said.length * 2;
    };
    const ended = talk();
    ended.catch(() => undefined);
    return { stop: () => (isOver = true), ended };
  }

  async leave(): Promise<void> {
    await Promise.allSettled(this.#all.map((person) => person.leave()));
  }

  async #exchange([one, other]: Pair, text: string): Promise<void> {
    for (const person of [one, other]) person.say(`${text}, says ${person.name}`);
    await Promise.all([
      other.hears(`${text}, says ${one.name}`, HEAR_MS),
      one.hears(`${text}, says ${other.name}`, HEAR_MS),
    ]);
  }

  #paste(command: string, name: string, friend: string, home: 0 | 1): Person {
    const state = join(this.#folder, name);
    const person = Person.paste(command, [name, friend], this.#homes[home], state, this.#now);
    this.#all.push(person);
    return person;
  }
}
