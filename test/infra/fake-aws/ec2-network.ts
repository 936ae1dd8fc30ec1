import { AwsError, type Query } from './query.ts';
import { Shelf, tagsOf, type Handlers, type Thing } from './shelf.ts';
import type { Xml } from './xml.ts';

export const ACCOUNT = '123456789012';
const OK = { return: true };

type Vpc = Thing & { vpcId: string; cidrBlock: string; ipv6: string | undefined };
type Subnet = Thing & {
  subnetId: string;
  vpcId: string;
  cidrBlock: string;
  availabilityZone: string;
  ipv6CidrBlockAssociationSet: {
    ipv6CidrBlock: string;
    associationId: string;
    ipv6CidrBlockState: Xml;
  }[];
  mapPublicIpOnLaunch: string;
  assignIpv6AddressOnCreation: string;
};
type Gateway = Thing & {
  internetGatewayId: string;
  attachmentSet: { vpcId: string; state: string }[];
};
type Route = { [key: string]: string | undefined };
type Association = {
  routeTableAssociationId: string;
  routeTableId: string;
  main: boolean;
  subnetId: string | undefined;
  associationState: { state: string };
};
type RouteTable = Thing & {
  routeTableId: string;
  vpcId: string;
  routeSet: Route[];
  associationSet: Association[];
};

/** EC2's networks: VPCs, subnets, internet gateways, route tables. */
export class Networks {
  readonly vpcs = new Shelf<Vpc>('vpc', 'InvalidVpcID');
  readonly subnets = new Shelf<Subnet>('subnet', 'InvalidSubnetID');
  readonly gateways = new Shelf<Gateway>('igw', 'InvalidInternetGatewayID');
  readonly tables = new Shelf<RouteTable>('rtb', 'InvalidRouteTableID');
  readonly #attributes = new Map<string, Record<string, string>>();
  readonly #madeVpc: (vpcId: string) => void;
  readonly #region: string;
  #associations = 0;

  /** `madeVpc` is told of each new VPC, which brings a default security group along. */
  constructor(region: string, madeVpc: (vpcId: string) => void) {
    this.#region = region;
    this.#madeVpc = madeVpc;
  }

  readonly handlers: Handlers = {
    CreateVpc: (query) => ({ vpc: shown(this.#createVpc(query)) }),
    DeleteVpc: (query) => {
      const vpcId = query.need('VpcId');
      this.#refuseWhileUsed(vpcId);
      this.vpcs.delete(vpcId);
      for (const table of this.tables.all()) {
        if (table.vpcId === vpcId) this.tables.delete(table.routeTableId);
      }
      return OK;
    },
    DescribeVpcs: (query) => ({
      vpcSet: this.vpcs
        .find(query, 'VpcId', {
          'vpc-id': (vpc) => [vpc.vpcId],
          'ipv6-cidr-block-association.association-id': (vpc) => [associationOf(vpc.vpcId)],
        })
        .map(shown),
    }),
    DescribeVpcAttribute: (query) => {
      const vpcId = query.need('VpcId');
      this.vpcs.need(vpcId);
      const name = query.need('Attribute');
      return { vpcId, [name]: { value: this.#attributes.get(vpcId)?.[name] ?? 'false' } };
    },
    ModifyVpcAttribute: (query) => {
      const vpcId = query.need('VpcId');
      for (const name of [
        'EnableDnsSupport',
        'EnableDnsHostnames',
        'EnableNetworkAddressUsageMetrics',
      ]) {
        const value = query.get(`${name}.Value`);
        const key = `${name.charAt(0).toLowerCase()}${name.slice(1)}`;
        if (value !== undefined) Object.assign(this.#attributes.get(vpcId) ?? {}, { [key]: value });
      }
      return OK;
    },
    DescribeNetworkAcls: (query) => ({
      networkAclSet: query
        .groups('Filter')
        .filter((filter) => filter.get('Name') === 'vpc-id')
        .flatMap((filter) => filter.list('Value'))
        .map((vpcId) => ({
          networkAclId: vpcId.replace('vpc-', 'acl-'),
          vpcId,
          default: true,
          ownerId: ACCOUNT,
        })),
    }),
    CreateSubnet: (query) => ({ subnet: this.#createSubnet(query) }),
    DeleteSubnet: (query) => (this.subnets.delete(query.need('SubnetId')), OK),
    DescribeSubnets: (query) => ({
      subnetSet: this.subnets.find(query, 'SubnetId', {
        'subnet-id': (subnet) => [subnet.subnetId],
        'vpc-id': (subnet) => [subnet.vpcId],
        'availability-zone': (subnet) => [subnet.availabilityZone],
      }),
    }),
    ModifySubnetAttribute: (query) => {
      const subnet = this.subnets.need(query.need('SubnetId'));
      subnet.mapPublicIpOnLaunch =
        query.get('MapPublicIpOnLaunch.Value') ?? subnet.mapPublicIpOnLaunch;
      subnet.assignIpv6AddressOnCreation =
        query.get('AssignIpv6AddressOnCreation.Value') ?? subnet.assignIpv6AddressOnCreation;
      return OK;
    },
    CreateInternetGateway: (query) => {
      const internetGatewayId = this.gateways.nextId();
      const gateway = {
        internetGatewayId,
        attachmentSet: [],
        ownerId: ACCOUNT,
        tagSet: tagsOf(query),
      };
      return { internetGateway: this.gateways.put(internetGatewayId, gateway) };
    },
    AttachInternetGateway: (query) => {
      const vpcId = this.vpcs.need(query.need('VpcId')).vpcId;
      this.gateways.need(query.need('InternetGatewayId')).attachmentSet = [
        { vpcId, state: 'available' },
      ];
      return OK;
    },
    DetachInternetGateway: (query) => {
      this.gateways.need(query.need('InternetGatewayId')).attachmentSet = [];
      return OK;
    },
    DeleteInternetGateway: (query) => (this.gateways.delete(query.need('InternetGatewayId')), OK),
    DescribeInternetGateways: (query) => ({
      internetGatewaySet: this.gateways.find(query, 'InternetGatewayId', {
        'attachment.vpc-id': (gateway) => gateway.attachmentSet.map(({ vpcId }) => vpcId),
        'internet-gateway-id': (gateway) => [gateway.internetGatewayId],
      }),
    }),
    CreateRouteTable: (query) => ({ routeTable: this.#createTable(query.need('VpcId'), query) }),
    DeleteRouteTable: (query) => (this.tables.delete(query.need('RouteTableId')), OK),
    DescribeRouteTables: (query) => ({
      routeTableSet: this.tables.find(query, 'RouteTableId', {
        'vpc-id': (table) => [table.vpcId],
        'route-table-id': (table) => [table.routeTableId],
        'association.main': (table) => table.associationSet.map(({ main }) => String(main)),
        'association.subnet-id': (table) => table.associationSet.map(({ subnetId }) => subnetId),
        'association.route-table-association-id': (table) =>
          table.associationSet.map(({ routeTableAssociationId }) => routeTableAssociationId),
      }),
    }),
    CreateRoute: (query) => {
      this.tables.need(query.need('RouteTableId')).routeSet.push({
        destinationCidrBlock: query.get('DestinationCidrBlock'),
        destinationIpv6CidrBlock: query.get('DestinationIpv6CidrBlock'),
        gatewayId: query.need('GatewayId'),
        state: 'active',
        origin: 'CreateRoute',
      });
      return OK;
    },
    DeleteRoute: (query) => {
      const table = this.tables.need(query.need('RouteTableId'));
      table.routeSet = table.routeSet.filter(
        (route) =>
          route['destinationCidrBlock'] !== query.get('DestinationCidrBlock') ||
          route['destinationIpv6CidrBlock'] !== query.get('DestinationIpv6CidrBlock'),
      );
      return OK;
    },
    AssociateRouteTable: (query) => {
      const table = this.tables.need(query.need('RouteTableId'));
      const association = this.#association(table.routeTableId, query.need('SubnetId'));
      table.associationSet.push(association);
      return {
        associationId: association.routeTableAssociationId,
        associationState: { state: 'associated' },
      };
    },
    DisassociateRouteTable: (query) => {
      const id = query.need('AssociationId');
      for (const table of this.tables.all()) {
        table.associationSet = table.associationSet.filter(
          ({ routeTableAssociationId }) => routeTableAssociationId !== id,
        );
      }
      return OK;
    },
  };

  #createVpc(query: Query): Vpc {
    const vpcId = this.vpcs.nextId();
    const ipv6 =
      query.get('AmazonProvidedIpv6CidrBlock') === 'true'
        ? `2001:db8:${(0x4200 + this.vpcs.all().length).toString(16)}::/56`
        : undefined;
    const vpc = this.vpcs.put(vpcId, {
      vpcId,
      ipv6,
      cidrBlock: query.need('CidrBlock'),
      state: 'available',
      instanceTenancy: query.get('InstanceTenancy') ?? 'default',
      isDefault: false,
      ownerId: ACCOUNT,
      dhcpOptionsId: 'dopt-1',
      tagSet: tagsOf(query),
    });
    this.#attributes.set(vpcId, { enableDnsSupport: 'true' });
    const table = this.#createTable(vpcId);
    table.associationSet.push(this.#association(table.routeTableId, undefined));
    this.#madeVpc(vpcId);
    return vpc;
  }

  #createSubnet(query: Query): Subnet {
    const subnetId = this.subnets.nextId();
    const { vpcId } = this.vpcs.need(query.need('VpcId'));
    const zone = query.get('AvailabilityZone') ?? `${this.#region}a`;
    const ipv6CidrBlock = query.get('Ipv6CidrBlock');
    const cidrBlock = query.need('CidrBlock');
    if (
      this.subnets.all().some((other) => other.vpcId === vpcId && other.cidrBlock === cidrBlock)
    ) {
      throw new AwsError('InvalidSubnet.Conflict', `The CIDR '${cidrBlock}' conflicts`);
    }
    return this.subnets.put(subnetId, {
      subnetId,
      vpcId,
      cidrBlock,
      availabilityZone: zone,
      availabilityZoneId: `use1-az${zone.charCodeAt(zone.length - 1) - 96}`,
      subnetArn: `arn:aws:ec2:${this.#region}:${ACCOUNT}:subnet/${subnetId}`,
      ownerId: ACCOUNT,
      state: 'available',
      availableIpAddressCount: 250,
      mapPublicIpOnLaunch: 'false',
      assignIpv6AddressOnCreation: 'false',
      privateDnsNameOptionsOnLaunch: {
        hostnameType: 'ip-name',
        enableResourceNameDnsARecord: false,
        enableResourceNameDnsAAAARecord: false,
      },
      ipv6CidrBlockAssociationSet:
        ipv6CidrBlock === undefined
          ? []
          : [
              {
                ipv6CidrBlock,
                associationId: subnetId.replace('subnet-', 'subnet-cidr-assoc-'),
                ipv6CidrBlockState: { state: 'associated' },
              },
            ],
      tagSet: tagsOf(query),
    });
  }

  #createTable(vpcId: string, query?: Query): RouteTable {
    const { cidrBlock, ipv6 } = this.vpcs.need(vpcId);
    const routeTableId = this.tables.nextId();
    const local = { gatewayId: 'local', state: 'active', origin: 'CreateRouteTable' };
    const routeSet: Route[] = [{ destinationCidrBlock: cidrBlock, ...local }];
    if (ipv6 !== undefined) routeSet.push({ destinationIpv6CidrBlock: ipv6, ...local });
    return this.tables.put(routeTableId, {
      routeTableId,
      vpcId,
      routeSet,
      associationSet: [],
      ownerId: ACCOUNT,
      tagSet: query === undefined ? [] : tagsOf(query),
    });
  }

  #association(routeTableId: string, subnetId: string | undefined): Association {
    this.#associations += 1;
    return {
      routeTableAssociationId: `rtbassoc-${this.#associations.toString(16).padStart(17, '0')}`,
      routeTableId,
      main: subnetId === undefined,
      subnetId,
      associationState: { state: 'associated' },
    };
  }

  #refuseWhileUsed(vpcId: string): void {
    const used =
      this.subnets.all().some((subnet) => subnet.vpcId === vpcId) ||
      this.gateways.all().some(({ attachmentSet }) => attachmentSet[0]?.vpcId === vpcId);
    if (used) throw new AwsError('DependencyViolation', `The vpc '${vpcId}' has dependencies`);
  }
}

function associationOf(vpcId: string): string {
  return vpcId.replace('vpc-', 'vpc-cidr-assoc-');
}

function shown(vpc: Vpc): Xml {
  const { ipv6, ...rest } = vpc;
  const set =
    ipv6 === undefined
      ? []
      : [
          {
            ipv6CidrBlock: ipv6,
            associationId: associationOf(vpc.vpcId),
            ipv6CidrBlockState: { state: 'associated' },
            ipv6Pool: 'Amazon',
            networkBorderGroup: 'us-east-1',
          },
        ];
  return {
    ...rest,
    cidrBlockAssociationSet: [
      {
        cidrBlock: vpc.cidrBlock,
        associationId: vpc.vpcId.replace('vpc-', 'vpc-cidr-main-'),
        cidrBlockState: { state: 'associated' },
      },
    ],
    ipv6CidrBlockAssociationSet: set,
  };
}
