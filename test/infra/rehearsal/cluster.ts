import type { FakeAws } from '../fake-aws/fake-aws.ts';
import type { Instance } from '../fake-aws/ec2-instances.ts';
import { must } from '../../support/command.ts';
import type { Computers } from './computers.ts';
import { inside } from './namespaces.ts';
import type { Place } from './internet.ts';
import type { Probe, ProbeResult } from './probe.ts';
import { complaint, questions, type Origin, type Question, type Role } from './security-matrix.ts';
import { fileURLToPath } from 'node:url';

const PROBE_PROCESS = fileURLToPath(new URL('./probe-process.ts', import.meta.url));

/** The instances that serve, by what they are. */
export function generation(aws: FakeAws): Record<Role, Instance[]> {
  const living = aws.ec2.instances.living().filter(({ state }) => state !== 'shutting-down');
  const isBalancer = ({ tagSet }: Instance): boolean =>
    tagSet.some(({ key, value }) => key === 'Name' && value.includes('loadbalancer'));
  return {
    balancer: living.filter(isBalancer),
    server: living.filter((instance) => !isBalancer(instance)),
  };
}

/** Asks every port of the matrix from everywhere; what is wrong, and how much was asked. */
export async function probeMatrix(
  aws: FakeAws,
  internet: Place,
  namespaceOf: (instance: Instance) => string,
): Promise<{ asked: number; complaints: string[] }> {
  const all = generation(aws);
  const [balancer, otherBalancer] = all.balancer;
  const [server, otherServer] = all.server;
  if (balancer === undefined || server === undefined)
    throw new Error('there are no hosts to probe');
  const publicOf = (instance: Instance): string =>
    aws.ec2.instances.publicAddressOf(instance) ?? '';
  const about = (
    from: Origin,
    way: Question['way'],
    role: Role,
    instance: Instance | undefined,
  ): Question[] => {
    if (instance === undefined) return [];
    const addresses = {
      public: publicOf(instance),
      private: instance.privateAddress,
      ipv6: instance.ipv6Address ?? '',
    };
    return questions(from, way, { name: instance.instanceId, role, address: addresses[way] });
  };
  const rounds: { namespace: string; questions: Question[] }[] = [
    {
      namespace: internet.namespace,
      questions: (['public', 'ipv6'] as const).flatMap((way) => [
        ...all.balancer.flatMap((one) => about('internet', way, 'balancer', one)),
        ...all.server.flatMap((one) => about('internet', way, 'server', one)),
      ]),
    },
    {
      namespace: namespaceOf(balancer),
      questions: [
        ...about('balancer', 'private', 'balancer', otherBalancer),
        ...about('balancer', 'private', 'server', server),
        ...about('balancer', 'public', 'server', server),
      ],
    },
    {
      namespace: namespaceOf(server),
      questions: [
        ...all.balancer.flatMap((one) => about('server', 'private', 'balancer', one)),
        ...about('server', 'private', 'server', otherServer),
        ...about('server', 'public', 'balancer', balancer),
        ...about('server', 'public', 'server', otherServer),
      ],
    },
  ];
  const answers = await Promise.all(
    rounds.map(async (round) => ({
      ...round,
      results: await probe(round.namespace, round.questions),
    })),
  );
  const complaints = answers.flatMap(({ questions: asked, results }) =>
    asked.flatMap((question, index) => {
      const result = results[index] ?? 'silent';
      const said = complaint(question, result);
      if (said === undefined) return [];
      return result === 'silent' && !hasRule(aws, question)
        ? `${said}: no rule of its security groups has it`
        : said;
    }),
  );
  return { asked: rounds.reduce((sum, round) => sum + round.questions.length, 0), complaints };
}

/** Whether some recorded rule is meant to let this in. */
function hasRule(aws: FakeAws, { to, protocol, port, way }: Question): boolean {
  const { groupIds } = aws.ec2.instances.instances.need(to);
  return aws.ec2.groups.rules
    .all()
    .some(
      (rule) =>
        !rule.isEgress &&
        groupIds.includes(rule.groupId) &&
        rule.ipProtocol === protocol &&
        rule.fromPort <= port &&
        rule.toPort >= port &&
        ((way === 'ipv6' ? rule.cidrIpv6 : rule.cidrIpv4) !== undefined ||
          (way !== 'public' && rule.referenced !== undefined)),
    );
}

/** What a host says of itself where something is wrong with it. */
export async function diagnosis(computers: Computers, instance: Instance): Promise<string> {
  const host = await computers.host(instance);
  const { stdout } = await host.run(
    'ss -Hltun | awk \'{print $1, $5}\' | sort -u | grep -v 127.0.0 | tr "\\n" ";"; echo; ' +
      'systemctl is-active chatty || tail -n 5 /var/log/cloud-init-output.log; ' +
      'journalctl -u chatty -n 3 --no-pager -o cat 2>/dev/null',
  );
  return `${instance.instanceId} listens on, and says last:\n${stdout.trim()}`;
}

async function probe(namespace: string, probes: readonly Probe[]): Promise<ProbeResult[]> {
  const [command, ...args] = inside(namespace);
  const input = JSON.stringify(probes);
  const program = [...args, process.execPath, '--import', 'tsx', PROBE_PROCESS];
  return JSON.parse(await must(command, program, { input })) as ProbeResult[];
}
