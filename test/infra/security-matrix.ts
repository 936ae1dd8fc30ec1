import { type Attributes, resources, type Synthesized } from './synthesized.ts';

/** Where somebody knocks from. `stranger`: a host of the same network that is in no group of ours. */
const SOURCES = ['ipv4', 'ipv6', 'loadbalancer', 'rendezvous', 'stranger'] as const;
type Source = (typeof SOURCES)[number];
type Role = 'loadbalancer' | 'rendezvous';
type Protocol = 'tcp' | 'udp';

const WORLD: readonly Source[] = SOURCES;
const CLUSTER: readonly Source[] = ['loadbalancer', 'rendezvous'];

/** The design's table, put down here once more and not taken from `infra`. */
const TABLE: readonly (readonly [
  Role,
  Protocol,
  first: number,
  last: number,
  readonly Source[],
])[] = [
  ['loadbalancer', 'tcp', 50050, 50050, WORLD],
  ['loadbalancer', 'tcp', 50051, 50051, ['rendezvous']],
  ['rendezvous', 'udp', 4433, 4440, WORLD],
  ['rendezvous', 'tcp', 4433, 4440, WORLD],
  ['rendezvous', 'udp', 443, 443, WORLD],
  ['rendezvous', 'tcp', 443, 443, WORLD],
  ['rendezvous', 'tcp', 50051, 50058, CLUSTER],
];

/** Both ends of every range, what lies beside them, and what must never be open. */
const PORTS = [
  ...[0, 22, 80, 442, 443, 444, 3389, 4432, 4433, 4434, 4440, 4441, 9464, 9465],
  ...[50049, 50050, 50051, 50052, 50058, 50059, 65535],
];

/** An address of each kind of source that is known by its address. */
const ADDRESS: Readonly<Record<Source, 'ipv4' | 'ipv6'>> = {
  ...{ ipv4: 'ipv4', ipv6: 'ipv6', loadbalancer: 'ipv4', rendezvous: 'ipv4', stranger: 'ipv4' },
};

/** What the security groups let through and should not, or do not and should: a sentence each. */
export function matrixProblems(whole: Synthesized): string[] {
  const rules = resources(whole, 'aws_vpc_security_group_ingress_rule').map(([, rule]) => rule);
  const problems: string[] = [];
  for (const role of ['loadbalancer', 'rendezvous'] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const port of PORTS) {
        for (const source of SOURCES) {
          const wanted = TABLE.some(
            ([to, over, first, last, from]) =>
              to === role &&
              over === protocol &&
              first <= port &&
              port <= last &&
              from.includes(source),
          );
          const admitted = rules.some((rule) => admits(rule, role, protocol, port, source));
          if (wanted === admitted) continue;
          const what = `${protocol} ${port} of a ${role} host from ${source}`;
          problems.push(
            `${what} is ${admitted ? 'open, but should be closed' : 'closed, but should be open'}`,
          );
        }
      }
    }
  }
  return [...problems, ...inlineProblems(whole)];
}

function admits(
  rule: Attributes,
  role: Role,
  protocol: Protocol,
  port: number,
  source: Source,
): boolean {
  if (rule['security_group_id'] !== groupOf(role)) return false;
  const all = rule['ip_protocol'] === '-1';
  if (!all && rule['ip_protocol'] !== protocol) return false;
  if (!all && (port < Number(rule['from_port']) || port > Number(rule['to_port']))) return false;
  const group = rule['referenced_security_group_id'] as string | undefined;
  if (group !== undefined) {
    return (source === 'loadbalancer' || source === 'rendezvous') && group === groupOf(source);
  }
  return rule[ADDRESS[source] === 'ipv4' ? 'cidr_ipv4' : 'cidr_ipv6'] !== undefined;
}

function groupOf(role: Role): string {
  return `\${aws_security_group.firewall-${role}.id}`;
}

/** Rules in a group itself would not be seen above. */
function inlineProblems(whole: Synthesized): string[] {
  return resources(whole, 'aws_security_group')
    .filter(([, group]) => group['ingress'] !== undefined || group['egress'] !== undefined)
    .map(([name]) => `the security group ${name} has rules of its own`);
}
