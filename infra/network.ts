import { DataAwsAvailabilityZones } from '@cdktf/provider-aws/lib/data-aws-availability-zones/index.js';
import { DefaultSecurityGroup } from '@cdktf/provider-aws/lib/default-security-group/index.js';
import { InternetGateway } from '@cdktf/provider-aws/lib/internet-gateway/index.js';
import { Route } from '@cdktf/provider-aws/lib/route/index.js';
import { RouteTableAssociation } from '@cdktf/provider-aws/lib/route-table-association/index.js';
import { RouteTable } from '@cdktf/provider-aws/lib/route-table/index.js';
import { Subnet } from '@cdktf/provider-aws/lib/subnet/index.js';
import { Vpc } from '@cdktf/provider-aws/lib/vpc/index.js';
import { Fn, type ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';

/** How many zones are used where none is named. */
const DEFAULT_ZONES = 2;
/** A subnet is an eighth of the IPv4 network, and one of the 256 /64 of the IPv6 one. */
const IPV4_BITS = 3;
const IPV6_BITS = 8;

export interface NetworkOptions {
  readonly name: string;
  readonly cidr: string;
  /** Availability zones; none: the first two there are. */
  readonly zones: readonly string[];
}

/** A network of its own, IPv4 and IPv6, with a public subnet in each zone and nothing in between. */
export class Network extends Construct {
  readonly vpcId: string;
  /** One a zone. */
  readonly subnetIds: readonly string[];
  /** What has to be there before a host can reach the world, and be reached. */
  readonly wayOut: readonly ITerraformDependable[];

  constructor(scope: Construct, id: string, { name, cidr, zones }: NetworkOptions) {
    super(scope, id);
    const tags = { Name: name };
    const vpc = new Vpc(this, 'vpc', {
      cidrBlock: cidr,
      assignGeneratedIpv6CidrBlock: true,
      enableDnsHostnames: true,
      enableDnsSupport: true,
      tags,
    });
    // Without rules: who forgets to name a group gets nothing.
    new DefaultSecurityGroup(this, 'nothing', { vpcId: vpc.id, ingress: [], egress: [] });
    const gateway = new InternetGateway(this, 'gateway', { vpcId: vpc.id, tags });
    const table = new RouteTable(this, 'routes', { vpcId: vpc.id, tags });
    const routes = [
      new Route(this, 'ipv4', {
        routeTableId: table.id,
        destinationCidrBlock: '0.0.0.0/0',
        gatewayId: gateway.id,
      }),
      new Route(this, 'ipv6', {
        routeTableId: table.id,
        destinationIpv6CidrBlock: '::/0',
        gatewayId: gateway.id,
      }),
    ];

    const subnets = this.#zones(zones).map((availabilityZone, index) => {
      const number = index + 1;
      const subnet = new Subnet(this, `subnet-${number}`, {
        vpcId: vpc.id,
        availabilityZone,
        cidrBlock: Fn.cidrsubnet(cidr, IPV4_BITS, index),
        ipv6CidrBlock: Fn.cidrsubnet(vpc.ipv6CidrBlock, IPV6_BITS, index),
        assignIpv6AddressOnCreation: true,
        tags: { Name: `${name}-${number}` },
      });
      const association = new RouteTableAssociation(this, `subnet-${number}-routes`, {
        subnetId: subnet.id,
        routeTableId: table.id,
      });
      return { subnet, association };
    });
    this.vpcId = vpc.id;
    this.subnetIds = subnets.map(({ subnet }) => subnet.id);
    this.wayOut = [gateway, ...routes, ...subnets.map(({ association }) => association)];
  }

  #zones(named: readonly string[]): readonly string[] {
    if (named.length > 0) return named;
    // Not only the ones in working order: a zone that fails must not move subnets to another one.
    const zones = new DataAwsAvailabilityZones(this, 'zones', {
      allAvailabilityZones: true,
      filter: [
        { name: 'zone-type', values: ['availability-zone'] },
        { name: 'opt-in-status', values: ['opt-in-not-required'] },
      ],
    });
    return Array.from(
      { length: DEFAULT_ZONES },
      (_, index): string => Fn.element(zones.names, index) as string,
    );
  }
}
