import { describe, expect, it } from 'vitest';
import { matrixProblems } from './security-matrix.ts';
import {
  type Attributes,
  planted,
  resources,
  synthesize,
  type Synthesized,
} from './synthesized.ts';

const RULE = 'aws_vpc_security_group_ingress_rule';
const whole = synthesize();

/** The rules of a group that begin at a port. */
function rules(of: Synthesized, role: string, protocol: string, port: number): Attributes[] {
  return resources(of, RULE)
    .filter(([name]) => name.startsWith(`firewall-${role}-${protocol}-${port}-`))
    .map(([, rule]) => rule);
}

describe('the firewall', () => {
  it('lets through exactly what the table says', () => {
    expect(matrixProblems(whole)).toEqual([]);
  });

  it('lets nobody else in where peers are only some networks', () => {
    const few = synthesize({ peerCidrs: ['198.51.100.0/24', '2001:db8::/32'] });
    expect(matrixProblems(few)).toEqual([]);
    const cidrs = resources(few, RULE).map(
      ([, rule]) => (rule['cidr_ipv4'] ?? rule['cidr_ipv6'] ?? 'a group') as string,
    );
    expect(new Set(cidrs)).toEqual(new Set(['198.51.100.0/24', '2001:db8::/32', 'a group']));
  });

  it.each([
    [
      'a rule removed',
      (copy: Synthesized) => {
        delete copy.resource[RULE]?.['firewall-rendezvous-tcp-50051-from-loadbalancer'];
      },
      'tcp 50058 of a rendezvous host from loadbalancer is closed, but should be open',
    ],
    [
      'IPv6 forgotten',
      (copy: Synthesized) => {
        const [rule] = rules(copy, 'rendezvous', 'udp', 4433).filter((r) => r['cidr_ipv6']);
        Object.assign(rule as object, { cidr_ipv6: undefined, cidr_ipv4: '0.0.0.0/0' });
      },
      'udp 4434 of a rendezvous host from ipv6 is closed, but should be open',
    ],
    [
      'a range that ends too late',
      (copy: Synthesized) => {
        for (const rule of rules(copy, 'rendezvous', 'tcp', 4433)) rule['to_port'] = 4441;
      },
      'tcp 4441 of a rendezvous host from ipv4 is open, but should be closed',
    ],
    [
      'the wrong protocol',
      (copy: Synthesized) => {
        for (const rule of rules(copy, 'rendezvous', 'udp', 443)) rule['ip_protocol'] = 'tcp';
      },
      'udp 443 of a rendezvous host from ipv4 is closed, but should be open',
    ],
    [
      'the cluster’s port open to the world',
      (copy: Synthesized) => {
        for (const rule of rules(copy, 'loadbalancer', 'tcp', 50051)) {
          Object.assign(rule, { referenced_security_group_id: undefined, cidr_ipv4: '0.0.0.0/0' });
        }
      },
      'tcp 50051 of a loadbalancer host from stranger is open, but should be closed',
    ],
    [
      'the wrong group',
      (copy: Synthesized) => {
        for (const rule of rules(copy, 'loadbalancer', 'tcp', 50051)) {
          rule['referenced_security_group_id'] = '${aws_security_group.firewall-loadbalancer.id}';
        }
      },
      'tcp 50051 of a loadbalancer host from rendezvous is closed, but should be open',
    ],
    [
      'SSH',
      (copy: Synthesized) => {
        const [rule] = rules(copy, 'rendezvous', 'tcp', 443);
        const ssh = { ...rule, from_port: 22, to_port: 22 };
        Object.assign(copy.resource[RULE] as object, { ssh });
      },
      'tcp 22 of a rendezvous host from ipv6 is open, but should be closed',
    ],
  ])('is found out with %s', (_fault, plant, problem) => {
    expect(matrixProblems(planted(whole, plant))).toContain(problem);
  });
});
