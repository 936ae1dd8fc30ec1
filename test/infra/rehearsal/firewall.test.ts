import { expect, test } from 'vitest';
import type { Instance } from '../fake-aws/ec2-instances.ts';
import type { Rule } from '../fake-aws/ec2-security-groups.ts';
import { ruleset, type Linked } from './firewall.ts';

const BALANCER = host('h1', '10.0.0.1', 'sg-balancer', '198.51.100.1');
const SERVER = host('h2', '10.0.0.2', 'sg-server', '203.0.113.2');

test('lets in what a rule has, and drops the rest', () => {
  const rule = ingress('sg-server', 'udp', [4433, 4440], { cidrIpv4: '0.0.0.0/0' });
  expect(chain(ruleset([BALANCER, SERVER], [rule]), 'to-h2')).toEqual([
    'ip saddr 0.0.0.0/0 udp dport 4433-4440 return',
    'counter drop',
  ]);
  expect(chain(ruleset([BALANCER, SERVER], [rule]), 'to-h1')).toEqual(['counter drop']);
});

test('takes a group for the private and IPv6 addresses of its members, and never by a public one', () => {
  const rule = ingress('sg-server', 'tcp', [50051, 50058], { referenced: 'sg-balancer' });
  expect(chain(ruleset([BALANCER, SERVER], [rule]), 'to-h2')).toEqual([
    'ct status ! dnat ip saddr { 10.0.0.1 } tcp dport 50051-50058 return',
    'ip6 saddr { 2001:db8::1 } tcp dport 50051-50058 return',
    'counter drop',
  ]);
});

test('lets out what a rule has', () => {
  const rule = { ...ingress('sg-server', '-1', [-1, -1], { cidrIpv6: '::/0' }), isEgress: true };
  expect(chain(ruleset([SERVER], [rule]), 'from-h2')).toEqual([
    'ip6 daddr ::/0 return',
    'counter drop',
  ]);
});

test('leads a public address to its host and back', () => {
  const text = ruleset([SERVER], []);
  expect(text).toContain('elements = { 203.0.113.2 : 10.0.0.2 }');
  expect(text).toContain('elements = { 10.0.0.2 : 203.0.113.2 }');
});

function chain(text: string, name: string): string[] {
  const [, rest = ''] = text.split(` chain ${name} {\n`);
  const [inner = ''] = rest.split('\n }');
  return inner.split('\n').map((line) => line.trim());
}

function host(
  device: string,
  privateAddress: string,
  group: string,
  publicAddress: string,
): Linked {
  const instance = {
    instanceId: device,
    privateAddress,
    ipv6Address: `2001:db8::${privateAddress.at(-1) ?? ''}`,
    groupIds: [group],
  } as Instance;
  return { device, instance, publicAddress };
}

function ingress(
  groupId: string,
  ipProtocol: string,
  [fromPort, toPort]: [number, number],
  source: Partial<Rule>,
): Rule {
  const nothing = { cidrIpv4: undefined, cidrIpv6: undefined, referenced: undefined };
  const common = { groupId, ipProtocol, fromPort, toPort, isEgress: false, description: undefined };
  return { securityGroupRuleId: 'sgr-1', tagSet: [], ...nothing, ...common, ...source };
}
