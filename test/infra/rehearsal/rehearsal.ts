import { join } from 'node:path';
import { FakeAws } from '../fake-aws/fake-aws.ts';
import type { Instance } from '../fake-aws/ec2-instances.ts';
import { diagnosis, generation, probeMatrix } from './cluster.ts';
import { Computers } from './computers.ts';
import { AWS_ADDRESS, Internet, type Place } from './internet.ts';
import { Metadata } from './metadata.ts';
import { Operator } from './operator.ts';
import { People, type Pair } from './people.ts';
import { plantInParameters, plantInRules, plantInUserData, type Plant } from './plant.ts';
import { Failure, seconds, type Report } from './report.ts';
import { Resolver } from './resolver.ts';
import { disorder } from './upgrade-order.ts';

const REGION = 'us-east-1';
const AWS_PORT = 4566;
/** Of what is wrong with ports, this many are told. */
const TOLD = 8;

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
  #people: People | undefined;
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
    const { report, folder } = { report: this.#report, folder: this.#settings.folder };
    const people = new People(homes, join(folder, 'people'), () => report.now());
    this.#people = people;
    const { peer_command: command } = await this.#operator.outputs();
    const friends = await this.#chat(people, command);
    if (!isShort) {
      await this.#loseHosts(people, command, friends);
      await this.#upgrade(people, command, friends);
    }
    await this.#destroy();
  }

  async close(): Promise<void> {
    await this.#people?.leave();
    await this.#computers.stopAll();
    for (const server of this.#servers) server.close();
    await this.#aws.close();
  }

  async #open(): Promise<void> {
    await this.#internet.open();
    await this.#aws.listen(AWS_ADDRESS, AWS_PORT);
    const metadata = new Metadata(this.#aws, REGION, (userData) =>
      plantInUserData(userData, this.#settings.plant),
    );
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
          const more = complaints.length - TOLD;
          const rest = more > 0 ? [`… and ${more} more of the kind`] : [];
          throw new Failure([...complaints.slice(0, TOLD), ...rest, ...said].join('\n'));
        }
        tell(
          `${asked} probes from the internet (IPv4, IPv6), a balancer and a server: all as the matrix has it`,
        );
      },
    );
  }

  async #chat(people: People, command: string): Promise<Pair> {
    let pair: Pair | undefined;
    await this.#report.step('Two people at different homes paste peer_command', async (tell) => {
      tell(command);
      pair = await people.meet(command, ['alice', 'bob'], tell);
    });
    if (pair === undefined) throw new Error('nobody met');
    return pair;
  }

  async #loseHosts(people: People, command: string, friends: Pair): Promise<void> {
    await this.#report.step('A balancer and a server vanish from the network', async (tell) => {
      const [[lostBalancer, ...balancers], [lostServer, ...servers]] = [
        generation(this.#aws).balancer,
        generation(this.#aws).server,
      ];
      if (lostBalancer === undefined || lostServer === undefined) throw new Error('no hosts');
      for (const instance of [lostBalancer, lostServer]) await this.#internet.cutOff(instance);
      tell(`cut off: balancer ${lostBalancer.instanceId}, server ${lostServer.instanceId}`);
      await people.talk(friends, 'one of each is gone', tell);
      await people.meet(command, ['carol', 'dave'], tell);
      for (const balancer of balancers) await this.#unlisted(balancer, lostServer, servers);
      tell('the server is off the list of the other balancer');
      await people.meet(command, ['ivy', 'jack'], tell);
      await people.talk(friends, 'still here', tell);
      await this.#internet.heal();
      tell('both are back');
    });
  }

  async #upgrade(people: People, command: string, friends: Pair): Promise<void> {
    const title = 'A new version is deployed (terraform apply) while people chat and wait';
    await this.#report.step(title, async (tell) => {
      const before = generation(this.#aws);
      const from = this.#aws.events.length;
      const erin = await people.waits(command, 'erin', 'frank');
      tell('erin waits for frank, who is not there yet');
      const talking = people.talkOn(friends);
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
      this.#tellStops(tell, from);
      tell('every new host was ready before an old one of its kind went or an address moved');
      await this.#runNewer([...after.server, ...after.balancer]);
      tell('every host runs the new version');
      tell(`alice and bob said ${lines} lines meanwhile, each heard once and in order`);
      const { story } = await people.joins(command, erin, 'frank');
      tell(`frank comes, and meets erin, who waited all the time: ${story}`);
      await people.meet(command, ['gina', 'hugo'], tell);
    });
  }

  /** Resolves once a balancer no longer lists a server, and still those that are left. */
  async #unlisted(balancer: Instance, gone: Instance, left: readonly Instance[]): Promise<void> {
    const host = await this.#computers.host(balancer);
    const lists = (all: readonly Instance[]): string =>
      ['chatty-ready', ...all.map(({ privateAddress }) => privateAddress)].join(' ');
    const ask = `${lists(left)} && ! ${lists([gone])} >/dev/null 2>&1`;
    const { code } = await host.run(`for i in $(seq 30); do ${ask} && exit; sleep 1; done; exit 1`);
    if (code !== 0) {
      throw new Failure(
        `${balancer.instanceId} has ${gone.instanceId}, which is gone, on its list`,
      );
    }
  }

  async #runNewer(instances: readonly Instance[]): Promise<void> {
    for (const instance of instances) {
      const host = await this.#computers.host(instance);
      const { stdout } = await host.run('/usr/bin/node-22 /opt/chatty/bin/chatty --version');
      if (stdout.trim().endsWith('-next')) continue;
      throw new Failure(`${instance.instanceId} runs ${stdout.trim()} after the upgrade`);
    }
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

  #tellStops(tell: (line: string) => void, from: number): void {
    const events = this.#aws.events.slice(from);
    for (const { subject, at, event, detail } of events) {
      if (event !== 'stopped' && event !== 'killed') continue;
      const asked = events.find(
        (one) => one.event === 'ec2 TerminateInstances' && one.subject === subject,
      );
      tell(`${subject} was ${event} ${seconds(at - (asked?.at ?? at))} after it was told to end`);
      if (event === 'killed') throw new Failure(`${subject} did not end by itself:\n${detail}`);
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
