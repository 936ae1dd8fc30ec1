import { join } from 'node:path';
import { FakeAws } from '../fake-aws/fake-aws.ts';
import type { Instance } from '../fake-aws/ec2-instances.ts';
import { diagnosis, generation, probeMatrix } from './cluster.ts';
import { Computers } from './computers.ts';
import { AWS_ADDRESS, Internet, type Place } from './internet.ts';
import { Metadata } from './metadata.ts';
import { Operator } from './operator.ts';
import { Person } from './person.ts';
import { plantInParameters, plantInRules, plantInUserData, type Plant } from './plant.ts';
import { Failure, seconds, type Report } from './report.ts';
import { Resolver } from './resolver.ts';
import { disorder } from './upgrade-order.ts';

const REGION = 'us-east-1';
const AWS_PORT = 4566;
const MEET_MS = 60_000;
const HEAR_MS = 30_000;

export type Settings = {
  prefix: string;
  /** Everything a rehearsal writes goes there. */
  folder: string;
  image: Promise<string>;
  /** The artifact, and a newer one. */
  artifacts: readonly [string, string];
  /** Only what fits CI's time: no hosts lost, no upgrade; by Terraform alone. */
  isShort: boolean;
  plant: Plant | undefined;
};

/** A rehearsal: what an operator does with a cluster in its life, and what people notice of it. */
export class Rehearsal {
  readonly #settings: Settings;
  readonly #report: Report;
  readonly #internet: Internet;
  readonly #computers: Computers;
  readonly #aws: FakeAws;
  readonly #operator: Operator;
  readonly #people: Person[] = [];
  readonly #servers: { close(): void }[] = [];

  constructor(settings: Settings, report: Report) {
    const endpoint = `http://${AWS_ADDRESS}:${AWS_PORT}`;
    this.#settings = settings;
    this.#report = report;
    this.#internet = new Internet(settings.prefix);
    this.#computers = new Computers(
      this.#internet,
      settings.image,
      join(settings.folder, 'hosts'),
      endpoint,
    );
    const { plant } = settings;
    this.#aws = new FakeAws(
      {
        started: (instance) => {
          plantInUserData(instance, plant);
          plantInParameters(this.#aws, plant);
          this.#computers.started(instance);
        },
        stopped: (instance) => this.#computers.stopped(instance),
        addressesChanged: () => this.#computers.addressesChanged(),
        run: (instance, script) => this.#computers.run(instance, script),
      },
      REGION,
      () => report.now(),
    );
    this.#computers.attach(this.#aws);
    this.#operator = new Operator(settings.folder, endpoint);
  }

  /** Plays it all. @throws Failure with the cause in its message */
  async play(): Promise<void> {
    const { isShort } = this.#settings;
    await this.#open();
    await this.#deploy();
    await this.#planAgain();
    const internet = await this.#internet.visitor(['192.0.2.200', '2001:db8:ffff::200']);
    await this.#probe(internet);
    const homes = await Promise.all([
      this.#internet.home('home1', '192.0.2.11'),
      this.#internet.home('home2', '192.0.2.22'),
    ]);
    const friends = await this.#chat(homes);
    if (!isShort) {
      await this.#loseHosts(homes, friends);
      await this.#upgrade(homes, friends);
    }
    await this.#destroy();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#people.map((person) => person.leave()));
    await this.#computers.stopAll();
    for (const server of this.#servers) server.close();
    await this.#aws.close();
  }

  async #open(): Promise<void> {
    await this.#internet.open();
    await this.#aws.listen(AWS_ADDRESS, AWS_PORT);
    const metadata = new Metadata(this.#aws, REGION);
    const resolver = new Resolver(this.#aws.route53);
    await Promise.all([metadata.listen(), resolver.listen()]);
    this.#servers.push(metadata, resolver);
  }

  async #deploy(): Promise<void> {
    const { artifacts, isShort } = this.#settings;
    const way = isShort ? 'terraform apply' : 'cdktf deploy';
    await this.#report.step(
      `The operator deploys the cluster (${way}), and its hosts boot`,
      async (tell) => {
        const deploy = isShort
          ? this.#operator.apply(artifacts[0])
          : this.#operator.deployByCdktf(artifacts[0]);
        try {
          await deploy;
        } catch (error) {
          throw this.#explained(error);
        }
        this.#refuseGaps();
        tell(`${await this.#operator.resources()} resources stand`);
        this.#tellHosts(tell);
        const leaks = await this.#operator.leaks();
        if (leaks.length > 0) throw new Failure(`a private key stands in ${leaks.join(' and ')}`);
        tell('no private key is in the state or in the synthesized stack');
      },
    );
  }

  async #planAgain(): Promise<void> {
    await this.#report.step('A second plan', async (tell) => {
      const changes = await this.#operator.plan(this.#settings.artifacts[0]);
      if (changes !== '') throw new Failure(`a second plan wants changes:\n${changes}`);
      tell('has nothing to change');
    });
  }

  async #probe(internet: Place): Promise<void> {
    await this.#report.step(
      'Every port of the security matrix is tried from everywhere',
      async (tell) => {
        plantInRules(this.#aws, this.#settings.plant);
        await this.#computers.enforce();
        const { asked, complaints } = await probeMatrix(this.#aws, internet, (instance) =>
          this.#internet.namespaceOf(instance),
        );
        if (complaints.length > 0) {
          const { server, balancer } = generation(this.#aws);
          const told = [...server, ...balancer].filter(({ instanceId }) =>
            complaints.some((one) => one.includes(instanceId)),
          );
          const said = await Promise.all(told.map((one) => this.#explain(one)));
          throw new Failure([...complaints, ...said].join('\n'));
        }
        tell(
          `${asked} probes from the internet (IPv4, IPv6), a balancer and a server: all as the matrix has it`,
        );
      },
    );
  }

  async #chat(homes: readonly Place[]): Promise<[Person, Person]> {
    let pair: [Person, Person] | undefined;
    await this.#report.step('Two people at different homes paste peer_command', async (tell) => {
      const { peer_command: command } = await this.#operator.outputs();
      tell(command);
      pair = await this.#meet(['alice', 'bob'], homes, tell);
    });
    if (pair === undefined) throw new Error('nobody met');
    return pair;
  }

  async #loseHosts(homes: readonly Place[], friends: [Person, Person]): Promise<void> {
    await this.#report.step('A balancer and a server vanish from the network', async (tell) => {
      const { balancer, server } = generation(this.#aws);
      const lost = [balancer[0], server[0]].filter((one) => one !== undefined);
      for (const instance of lost) await this.#internet.cutOff(instance);
      tell(`cut off: ${lost.map(({ instanceId }) => instanceId).join(', ')}`);
      await this.#talk(friends, 'one of each is gone', tell);
      await this.#meet(['carol', 'dave'], homes, tell);
      await this.#talk(friends, 'still here', tell);
      await this.#internet.heal();
      tell('both are back');
    });
  }

  async #upgrade(homes: readonly Place[], friends: [Person, Person]): Promise<void> {
    const [home1, home2] = homes;
    if (home1 === undefined || home2 === undefined) return;
    await this.#report.step(
      'A new version is deployed (terraform apply) while people chat and wait',
      async (tell) => {
        const before = generation(this.#aws);
        const from = this.#aws.events.length;
        const { peer_command: command } = await this.#operator.outputs();
        const erin = this.#person(command, ['erin', 'frank'], home1);
        await erin.until('registered', MEET_MS);
        tell('Erin waits for Frank, who is not there yet');
        const talking = this.#talkOn(friends);
        try {
          await this.#operator.apply(this.#settings.artifacts[1]);
        } catch (error) {
          throw this.#explained(error);
        } finally {
          talking.stop();
        }
        this.#refuseGaps();
        const lines = await talking.ended;
        const after = generation(this.#aws);
        this.#tellHosts(tell, from);
        const ids = (all: readonly Instance[]): string[] => all.map(({ instanceId }) => instanceId);
        const wrong = disorder(this.#aws.events.slice(from), [
          { role: 'server', old: ids(before.server), new: ids(after.server) },
          { role: 'balancer', old: ids(before.balancer), new: ids(after.balancer) },
        ]);
        if (wrong.length > 0) throw new Failure(wrong.join('\n'));
        tell(
          'every new host was ready before an old one of its kind went, and before an address moved',
        );
        tell(`Alice and Bob exchanged ${lines} lines meanwhile, each heard once and in order`);
        const frank = this.#person(command, ['frank', 'erin'], home2);
        await Promise.all([erin.until('connected', MEET_MS), frank.until('connected', MEET_MS)]);
        await this.#exchange(erin, frank, 'hello after the upgrade');
        tell('Frank comes, and meets Erin, who waited all the time');
        await Promise.all([erin.leave(), frank.leave()]);
        await this.#meet(['gina', 'hugo'], homes, tell);
      },
    );
  }

  async #destroy(): Promise<void> {
    const { artifacts, isShort } = this.#settings;
    await this.#report.step(
      `The operator takes it all away (${isShort ? 'terraform' : 'cdktf'} destroy)`,
      async (tell) => {
        if (isShort) await this.#operator.destroy(artifacts[0]);
        else await this.#operator.destroyByCdktf(artifacts[1]);
        const left = this.#aws.leftovers();
        if (left.length > 0) throw new Failure(`this is left after destroy: ${left.join(', ')}`);
        this.#refuseGaps();
        tell('nothing is left');
      },
    );
  }

  async #meet(
    names: readonly [string, string],
    [home1, home2]: readonly Place[],
    tell: (line: string) => void,
  ): Promise<[Person, Person]> {
    if (home1 === undefined || home2 === undefined) throw new Error('two homes are needed');
    const { peer_command: command } = await this.#operator.outputs();
    const startedAt = this.#report.now();
    const one = this.#person(command, [names[0], names[1]], home1);
    await one.until('waiting', MEET_MS);
    const cameAt = this.#report.now();
    const other = this.#person(command, [names[1], names[0]], home2);
    const connected = await Promise.all(
      [one, other].map((person) => person.until('connected', MEET_MS)),
    );
    await this.#exchange(one, other, 'hello');
    const ways = connected.map((event) => `${String(event['path'])} (${String(event['kind'])})`);
    const later = Math.max(...connected.map(({ heardAt }) => heardAt));
    tell(
      `${names[0]} waits after ${seconds(cameAt - startedAt)}; ${names[1]} comes, and they are connected ` +
        `after ${seconds(later - cameAt)}: ${[...new Set(ways)].join(', ')}; words arrive both ways`,
    );
    return [one, other];
  }

  async #talk(
    [one, other]: [Person, Person],
    text: string,
    tell: (line: string) => void,
  ): Promise<void> {
    const at = this.#report.now();
    await this.#exchange(one, other, text);
    tell(
      `${one.name} and ${other.name} go on talking: heard both ways after ${Math.round(this.#report.now() - at)} ms`,
    );
  }

  async #exchange(one: Person, other: Person, text: string): Promise<void> {
    one.say(`${text}, says ${one.name}`);
    other.say(`${text}, says ${other.name}`);
    await Promise.all([
      other.hears(`${text}, says ${one.name}`, HEAR_MS),
      one.hears(`${text}, says ${other.name}`, HEAR_MS),
    ]);
  }

  /** Has two people say a line a second until stopped; then how many, once all have arrived. */
  #talkOn([one, other]: [Person, Person]): { stop: () => void; ended: Promise<number> } {
    let isOver = false;
    const talk = async (): Promise<number> => {
      const said: string[] = [];
      while (!isOver) {
        const line = `line ${said.length}`;
        said.push(line);
        one.say(line);
        other.say(line);
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
      for (const person of [one, other]) {
        await person.hears(said.at(-1) ?? '', HEAR_MS);
        const heard = person.heard.filter((line) => line.startsWith('line '));
        if (heard.join() !== said.join()) {
          throw new Failure(
            `${person.name} did not hear each line once and in order: ${heard.join()}`,
          );
        }
      }
      return said.length * 2;
    };
    const ended = talk();
    ended.catch(() => undefined);
    return { stop: () => (isOver = true), ended };
  }

  #person(command: string, names: readonly [string, string], place: Place): Person {
    const state = join(this.#settings.folder, 'people', names[0]);
    const person = Person.paste(command, names, place, state, () => this.#report.now());
    this.#people.push(person);
    return person;
  }

  #tellHosts(tell: (line: string) => void, from = 0): void {
    const events = this.#aws.events.slice(from);
    const at = (event: string, subject: string): number | undefined =>
      events.find((one) => one.event === event && one.subject === subject)?.at;
    for (const [role, hosts] of Object.entries(generation(this.#aws))) {
      for (const { instanceId } of hosts) {
        const launched = at('ec2 RunInstances', instanceId);
        const passed = at('gate passed', instanceId);
        if (launched === undefined || passed === undefined) continue;
        tell(
          `${role} ${instanceId}: launched at ${seconds(launched)}, its gate passed ${seconds(passed - launched)} later`,
        );
      }
    }
  }

  /** An error with what the hosts say about it. */
  #explained(error: unknown): Failure {
    const failed = this.#aws.events.filter(({ event }) => /failed|refused/.test(event));
    const told = failed.map(({ event, subject, detail }) => `${event} at ${subject}: ${detail}`);
    const last = (error instanceof Error ? error.message : String(error)).split('\n').slice(-12);
    return new Failure([...new Set(told), ...this.#aws.gaps, ...last].join('\n'));
  }

  async #explain(instance: Instance): Promise<string> {
    return diagnosis(this.#computers, instance).catch(String);
  }

  #refuseGaps(): void {
    if (this.#aws.gaps.size > 0) throw new Failure([...this.#aws.gaps].join('\n'));
  }
}
