import { parseAddress } from '../../src/base/address.ts';
import { systemClock as clock } from '../../src/base/clock.ts';
import type { Cell } from './cells.ts';
import type { Outcome } from './expectation.ts';
import type { Laboratory } from './laboratory.ts';
import { Person } from './person.ts';
import type { Carrier, Site } from './site.ts';

/** The first of two is on both servers by then, if at all. */
const SETTLED_MS = 6_000;
/** By then two have met whose ports need not be guessed, on a busy machine too. */
const MEET_MS = 8_000;
/** The same where ports are guessed: an attempt is given up after 35 s. */
const GUESS_MS = 45_000;
/** Nobody is connected by then who is not so at all. */
const HOPELESS_MS = 5_000;
const ANSWER_MS = 5_000;
/** A direct path is looked for 12 s before it is said what stands in the way. */
const OBSTACLE_MS = 25_000;
const TROUBLE_CHARACTERS = 200;

/** Where one of the two is. */
export interface Seat {
  readonly site: Site;
  readonly computer: number;
}

/** How it went for two people. */
export interface Meeting {
  readonly outcome: Outcome;
  /**
   * From the first `registered` of the one who came later to the first line of theirs that the other
   * one is known to have, over any path.
   */
  readonly firstByteMs?: number;
  /** From the same until they were told of a direct path. */
  readonly directMs?: number;
  /** Checks that the two sent until then, together, but for those over a relay. */
  readonly checks: number;
  /** Whether both say that they are on the same path, at the end. */
  readonly agree: boolean;
  /** What each side calls the other's address, at the end. */
  readonly remotes: readonly [a: string, b: string];
  /** Whose network stands in the way of a direct path, as each side says; only asked if relayed. */
  readonly obstacles?: readonly [a: string, b: string];
  /** What went wrong, for people. */
  readonly trouble?: string;
}

let meetings = 0;

/** Two people who look for each other; `b` comes when `a` waits. */
export class Pair {
  readonly a: Person;
  readonly seats: readonly [Seat, Seat];
  readonly #laboratory: Laboratory;
  readonly #names: readonly [string, string];
  readonly #args: readonly string[];
  #b: Person | undefined;

  constructor(laboratory: Laboratory, seats: readonly [Seat, Seat], args: readonly string[] = []) {
    this.#laboratory = laboratory;
    this.seats = seats;
    this.#args = args;
    meetings++;
    this.#names = [`a${meetings}`, `b${meetings}`];
    this.a = this.#person(0);
  }

  get b(): Person {
    if (this.#b === undefined) throw new Error('the second one has not come yet');
    return this.#b;
  }

  /**
   * @param hoped how they ought to end up: it is waited for as long as that may take.
   * @param lateMs so much later than `b` does `a` take note of the match.
   */
  async meet(hoped: Outcome, guesses: boolean, lateMs = 0): Promise<Meeting> {
    const { a } = this;
    const before = await this.#checks();
    const registrations = (): number =>
      a.events.filter(({ event }) => event === 'registered').length;
    await a.until(() => registrations() > 1, SETTLED_MS);
    a.say('from a');
    this.#b = this.#person(1);
    this.#b.say('from b');
    const { b } = this;
    const patienceMs = hoped === 'direct' ? (guesses ? GUESS_MS : MEET_MS) : HOPELESS_MS;
    if (lateMs > 0) await this.#delay(lateMs);
    await b.until(() => b.first('registered') !== undefined, SETTLED_MS);
    await b.until(() => hasDelivered(b, 1), patienceMs);
    if (hoped === 'direct') await this.settled(patienceMs);
    const checks = (await this.#checks()) - before;
    const heard = await this.#talk();
    if (hoped === 'relayed' && heard) await this.#obstacles();
    return this.#report(heard, checks);
  }

  async leave(): Promise<void> {
    await Promise.all([this.a.leave(), this.#b?.leave()]);
  }

  /** Whether a line of each reaches the other. */
  async talk(withinMs: number): Promise<boolean> {
    const counts = [this.a, this.b].map((person) => sentBy(person));
    this.a.say('more from a');
    this.b.say('more from b');
    const [fromA = 0, fromB = 0] = counts;
    const all = await Promise.all([
      this.a.until(() => hasDelivered(this.a, fromA + 1), withinMs),
      this.b.until(() => hasDelivered(this.b, fromB + 1), withinMs),
    ]);
    return all.every(Boolean);
  }

  /** Waits until both are on the same direct path; false if they are not by then. */
  async settled(withinMs: number): Promise<boolean> {
    const giveUpAt = clock.now() + withinMs;
    const { a, b } = this;
    for (;;) {
      if (isDirect(a) && isDirect(b) && this.agrees) return true;
      const leftMs = giveUpAt - clock.now();
      if (leftMs <= 0 || a.hasEnded || b.hasEnded) return false;
      await Promise.race([a.news(leftMs), b.news(leftMs)]);
    }
  }

  /** Who has come. */
  get people(): readonly Person[] {
    return this.#b === undefined ? [this.a] : [this.a, this.#b];
  }

  /** Whether both say so of their path. */
  get agrees(): boolean {
    const [a, b] = [this.#whereIs(0), this.#whereIs(1)];
    return a === b && a !== undefined;
  }

  /** All that the two were told, for people. */
  get story(): string {
    return this.people
      .map(({ events }) => events.map((said) => JSON.stringify(said)).join('\n'))
      .join('\n--\n');
  }

  /** Waits until both have said what stands in the way. */
  async #obstacles(): Promise<void> {
    const told = this.people.map((person) =>
      person.until(() => person.first('obstacle') !== undefined, OBSTACLE_MS),
    );
    await Promise.all(told);
  }

  async #checks(): Promise<number> {
    const counts = await Promise.all(
      this.seats.map(({ site, computer }) => site.checksSent(computer)),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #delay(lateMs: number): Promise<void> {
    const { a, b } = this;
    await b.until(() => b.first('waiting') !== undefined, SETTLED_MS);
    a.pause();
    await b.until(() => b.first('matched') !== undefined, SETTLED_MS);
    await clock.sleep(lateMs);
    a.goOn();
  }

  async #talk(): Promise<boolean> {
    const bothConnected = [this.a, this.b].every(({ path }) => path !== undefined);
    return bothConnected && (await this.talk(ANSWER_MS));
  }

  #report(heard: boolean, checks: number): Meeting {
    const { a, b } = this;
    const registered = b.first('registered')?.at;
    const since = (at: number | undefined): number | undefined =>
      at === undefined || registered === undefined ? undefined : at - registered;
    const firstByteMs = since(b.first('delivered')?.at);
    const directMs = since(b.first('connected', isOnDirect)?.at ?? b.first('path', isOnDirect)?.at);
    const direct = isDirect(a) && isDirect(b);
    const outcome = heard ? (direct ? 'direct' : 'relayed') : 'failed';
    const complaints = [a, b].flatMap(({ complaints: text }) => (text === '' ? [] : [text]));
    const errors = [a, b].flatMap(({ events }) =>
      events.filter(({ event }) => event === 'error').map(({ message }) => String(message)),
    );
    const trouble = [...errors, ...complaints].join(' | ').slice(0, TROUBLE_CHARACTERS);
    return {
      outcome,
      ...(firstByteMs === undefined ? {} : { firstByteMs }),
      ...(directMs === undefined || outcome !== 'direct' ? {} : { directMs }),
      checks,
      agree: this.agrees,
      remotes: [remoteOf(a), remoteOf(b)],
      ...(outcome === 'relayed' ? { obstacles: [obstacleOf(a), obstacleOf(b)] as const } : {}),
      ...(trouble === '' ? {} : { trouble }),
    };
  }

  #person(index: 0 | 1): Person {
    const { site, computer } = this.seats[index];
    return new Person({
      name: this.#names[index],
      friend: this.#names[1 - index] ?? '',
      on: this.#laboratory.namespaces.on(site.computers[computer] ?? ''),
      cluster: this.#laboratory.cluster,
      balancer: index,
      args: this.#args,
    });
  }

  /** The way that one side says it reaches the other by. */
  #whereIs(index: 0 | 1): string | undefined {
    const { path } = index === 0 ? this.a : this.b;
    if (path === undefined) return undefined;
    if (path['path'] !== 'direct') return 'relay';
    const friend = this.seats[index === 0 ? 1 : 0];
    const host = parseAddress(remoteOf(index === 0 ? this.a : this.b))?.host ?? '';
    if (host.includes(':')) return 'IPv6';
    if (host === friend.site.address) return 'outer address';
    return friend.site.ownAddresses(friend.computer).includes(host) ? 'LAN' : `unknown ${host}`;
  }
}

/** Brings the two of a cell together, as it says. */
export async function withCell<Result>(
  laboratory: Laboratory,
  cell: Cell,
  use: (seats: readonly [Seat, Seat]) => Promise<Result>,
  options: { readonly lifetimeMs?: number } = {},
): Promise<Result> {
  const sites: Site[] = [];
  let carrier: Carrier | undefined;
  try {
    if (cell.together === 'one-lan' || cell.together === 'isolated-lan') {
      const isolated = cell.together === 'isolated-lan';
      const site = await laboratory.site(cell.a, { computers: 2, isolated, ...options });
      sites.push(site);
      return await use([
        { site, computer: 0 },
        { site, computer: 1 },
      ]);
    }
    if (cell.together === 'one-carrier') {
      carrier = await laboratory.carrier(cell.hairpin);
    }
    const shared = { ...(carrier === undefined ? {} : { carrier }), ...options };
    const a = await laboratory.site(cell.a, shared);
    sites.push(a);
    const b = await laboratory.site(cell.b, {
      ...shared,
      ...(cell.sameSubnet ? { subnet: a.plan.subnet } : {}),
    });
    sites.push(b);
    return await use([
      { site: a, computer: 0 },
      { site: b, computer: 0 },
    ]);
  } finally {
    await laboratory.remove(...sites);
    if (carrier !== undefined) await laboratory.wire.remove(carrier.name);
  }
}

function isOnDirect(said: { readonly [field: string]: unknown }): boolean {
  return said['path'] === 'direct';
}

function remoteOf({ path }: Person): string {
  const remote = path?.['remote'];
  return typeof remote === 'string' ? remote : '';
}

function obstacleOf(person: Person): string {
  const whose = person.first('obstacle')?.['whose'];
  return typeof whose === 'string' ? whose : 'nothing said';
}

function isDirect({ path }: Person): boolean {
  return path?.['path'] === 'direct';
}

function sentBy({ events }: Person): number {
  return events.filter(({ event }) => event === 'sent').length;
}

function hasDelivered(person: Person, id: number): boolean {
  return person.first('delivered', (said) => said['id'] === id) !== undefined;
}
