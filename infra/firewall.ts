import { SecurityGroup } from '@cdktf/provider-aws/lib/security-group/index.js';
import { VpcSecurityGroupEgressRule } from '@cdktf/provider-aws/lib/vpc-security-group-egress-rule/index.js';
import { VpcSecurityGroupIngressRule } from '@cdktf/provider-aws/lib/vpc-security-group-ingress-rule/index.js';
import { Construct } from 'constructs';
import {
  BALANCER_CLUSTER,
  BALANCER_PEERS,
  type PortRange,
  SERVER_CLUSTER,
  SERVER_PEERS,
  SERVER_WEB,
} from './ports.ts';
import { type Role, ROLES } from './role.ts';

interface Admission {
  readonly protocol: 'tcp' | 'udp';
  readonly ports: PortRange;
  /** `peers`: the networks of the setting `peerCidrs`. */
  readonly from: 'peers' | Role;
  readonly what: string;
}

/** Who is let in where; all else is not. */
const ADMISSIONS: Readonly<Record<Role, readonly Admission[]>> = {
  loadbalancer: [
    { protocol: 'tcp', ports: BALANCER_PEERS, from: 'peers', what: 'peers ask for servers' },
    { protocol: 'tcp', ports: BALANCER_CLUSTER, from: 'rendezvous', what: 'servers register' },
  ],
  rendezvous: [
    { protocol: 'udp', ports: SERVER_PEERS, from: 'peers', what: 'peers: QUIC and STUN' },
    { protocol: 'tcp', ports: SERVER_PEERS, from: 'peers', what: 'peers without UDP' },
    { protocol: 'udp', ports: SERVER_WEB, from: 'peers', what: 'peers: QUIC and STUN' },
    { protocol: 'tcp', ports: SERVER_WEB, from: 'peers', what: 'peers without UDP' },
    { protocol: 'tcp', ports: SERVER_CLUSTER, from: 'loadbalancer', what: 'health checks' },
    { protocol: 'tcp', ports: SERVER_CLUSTER, from: 'rendezvous', what: 'the peer table' },
  ],
};

export interface FirewallOptions {
  readonly name: string;
  readonly vpcId: string;
  /** IPv4 and IPv6 networks. */
  readonly peerCidrs: readonly string[];
}

/** A security group a role. */
export class Firewall extends Construct {
  readonly groups: Readonly<Record<Role, SecurityGroup>>;

  constructor(scope: Construct, id: string, { name, vpcId, peerCidrs }: FirewallOptions) {
    super(scope, id);
    const group = (role: Role): SecurityGroup =>
      new SecurityGroup(this, role, {
        name: `${name}-${role}`,
        description: `Chatty ${role}`,
        vpcId,
        tags: { Name: `${name}-${role}` },
      });
    this.groups = { loadbalancer: group('loadbalancer'), rendezvous: group('rendezvous') };

    for (const role of ROLES) {
      for (const admission of ADMISSIONS[role]) this.#admit(role, admission, peerCidrs);
      // Open, so that AWS tracks no UDP flow: none is then forgotten, however long it is silent.
      this.#letOut(role, 'ipv4', { cidrIpv4: '0.0.0.0/0' });
      this.#letOut(role, 'ipv6', { cidrIpv6: '::/0' });
    }
  }

  #admit(role: Role, admission: Admission, peerCidrs: readonly string[]): void {
    const { protocol, ports, from, what } = admission;
    const [fromPort, toPort] = ports;
    const sources =
      from === 'peers'
        ? peerCidrs.map((cidr) => [cidr.replace(/[^0-9a-f]/g, '-'), networkOf(cidr)] as const)
        : [[from, { referencedSecurityGroupId: this.groups[from].id }] as const];
    for (const [label, source] of sources) {
      new VpcSecurityGroupIngressRule(this, `${role}-${protocol}-${fromPort}-from-${label}`, {
        securityGroupId: this.groups[role].id,
        description: what,
        ipProtocol: protocol,
        fromPort,
        toPort,
        ...source,
      });
    }
  }

  #letOut(role: Role, label: string, destination: ReturnType<typeof networkOf>): void {
    new VpcSecurityGroupEgressRule(this, `${role}-out-${label}`, {
      securityGroupId: this.groups[role].id,
      description: 'everything',
      ipProtocol: '-1',
      ...destination,
    });
  }
}

function networkOf(cidr: string): { cidrIpv4: string } | { cidrIpv6: string } {
  return cidr.includes(':') ? { cidrIpv6: cidr } : { cidrIpv4: cidr };
}
