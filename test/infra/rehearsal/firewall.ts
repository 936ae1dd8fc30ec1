import type { Instance } from '../fake-aws/ec2-instances.ts';
import type { Rule } from '../fake-aws/ec2-security-groups.ts';

/** A host as the router sees it: the network device that leads there, and who is behind it. */
export type Linked = { device: string; instance: Instance; publicAddress: string | undefined };

/**
 * What nftables is to hold for these hosts in the namespace of the router, which is the VPC's router
 * and its internet gateway: public addresses become private ones and back, and each host is reached
 * only as its recorded security groups allow, and may send only what they allow. Statefully, as
 * security groups are; what is not allowed vanishes without a word.
 *
 * A rule that names another group holds for its members' private addresses only: what was sent to a
 * public address comes by way of the internet gateway, and from a public one.
 */
export function ruleset(hosts: readonly Linked[], rules: readonly Rule[]): string {
  const addressed = hosts.filter(({ publicAddress }) => publicAddress !== undefined);
  const inwards = addressed.map(
    ({ instance, publicAddress }) => `${publicAddress ?? ''} : ${instance.privateAddress}`,
  );
  const outwards = addressed.map(
    ({ instance, publicAddress }) => `${instance.privateAddress} : ${publicAddress ?? ''}`,
  );
  return [
    'table inet cloud',
    'delete table inet cloud',
    'table inet cloud {',
    map('inwards', inwards),
    map('outwards', outwards),
    ' chain gateway-in {',
    '  type nat hook prerouting priority dstnat;',
    '  dnat ip to ip daddr map @inwards',
    ' }',
    ' chain gateway-out {',
    '  type nat hook postrouting priority srcnat;',
    '  oifname "w*" snat ip to ip saddr map @outwards',
    '  ct status dnat snat ip to ip saddr map @outwards',
    ' }',
    ...hosts.flatMap((host) => [
      ` chain to-${host.device} {`,
      ...allowed(host, hosts, rules, false),
      '  counter drop',
      ' }',
      ` chain from-${host.device} {`,
      ...allowed(host, hosts, rules, true),
      '  counter drop',
      ' }',
    ]),
    ' chain forward {',
    '  type filter hook forward priority filter; policy accept;',
    '  ct state established,related accept',
    ...hosts.map(({ device }) => `  iifname "${device}" jump from-${device}`),
    ...hosts.map(({ device }) => `  oifname "${device}" jump to-${device}`),
    ' }',
    '}',
    '',
  ].join('\n');
}

/** The verdicts of a host's chain; `return` where the other end has its say too. */
function allowed(
  { instance }: Linked,
  hosts: readonly Linked[],
  rules: readonly Rule[],
  isEgress: boolean,
): string[] {
  return rules
    .filter((rule) => rule.isEgress === isEgress && instance.groupIds.includes(rule.groupId))
    .flatMap((rule) =>
      sources(rule, hosts, isEgress).map((source) => `  ${source} ${ports(rule)} return`),
    )
    .map((line) => line.replace(/ +/g, ' '));
}

function sources(rule: Rule, hosts: readonly Linked[], isEgress: boolean): string[] {
  const end = isEgress ? 'daddr' : 'saddr';
  if (rule.cidrIpv4 !== undefined) return [`ip ${end} ${rule.cidrIpv4}`];
  if (rule.cidrIpv6 !== undefined) return [`ip6 ${end} ${rule.cidrIpv6}`];
  const members = hosts.filter(({ instance }) => instance.groupIds.includes(rule.referenced ?? ''));
  const v4 = members.map(({ instance }) => instance.privateAddress);
  const v6 = members.flatMap(({ instance }) => instance.ipv6Address ?? []);
  return [
    ...(v4.length === 0 ? [] : [`ct status ! dnat ip ${end} { ${v4.join(', ')} }`]),
    ...(v6.length === 0 ? [] : [`ip6 ${end} { ${v6.join(', ')} }`]),
  ];
}

function ports({ ipProtocol, fromPort, toPort }: Rule): string {
  if (ipProtocol === '-1') return '';
  if (ipProtocol === 'icmp' || ipProtocol === 'icmpv6') return `meta l4proto ${ipProtocol}`;
  return `${ipProtocol} dport ${fromPort}-${toPort}`;
}

function map(name: string, entries: readonly string[]): string {
  const elements = entries.length === 0 ? '' : `elements = { ${entries.join(', ')} }`;
  return ` map ${name} { type ipv4_addr : ipv4_addr; ${elements} }`;
}
