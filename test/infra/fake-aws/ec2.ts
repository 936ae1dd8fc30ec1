import { Instances, type Machines } from './ec2-instances.ts';
import { Networks } from './ec2-network.ts';
import { SecurityGroups } from './ec2-security-groups.ts';
import { AwsError, type Query } from './query.ts';
import type { Handlers, Thing } from './shelf.ts';
import type { Xml } from './xml.ts';

/** EC2, as far as `infra/` and its provider ask it. */
export class Ec2 {
  readonly networks: Networks;
  readonly groups: SecurityGroups;
  readonly instances: Instances;
  readonly #handlers: Handlers;

  constructor(machines: Machines, region: string) {
    this.networks = new Networks(region, (vpcId) => {
      this.groups.create(vpcId, 'default', 'default VPC security group');
    });
    this.instances = new Instances(this.networks, machines, region);
    this.groups = new SecurityGroups((groupId) =>
      this.instances.living().some(({ groupIds }) => groupIds.includes(groupId)),
    );
    this.#handlers = {
      ...this.networks.handlers,
      ...this.groups.handlers,
      ...this.instances.handlers,
      DeleteVpc: (query) => {
        const answer = this.networks.handlers['DeleteVpc']?.(query);
        this.groups.dropDefault(query.need('VpcId'));
        return answer;
      },
      CreateTags: (query) => {
        for (const thing of this.#named(query)) {
          for (const tag of query.groups('Tag')) {
            const key = tag.need('Key');
            thing.tagSet = thing.tagSet.filter((one) => one.key !== key);
            thing.tagSet.push({ key, value: tag.get('Value') ?? '' });
          }
        }
        return { return: true };
      },
      DeleteTags: (query) => {
        const keys = query.groups('Tag').map((tag) => tag.need('Key'));
        for (const thing of this.#named(query)) {
          thing.tagSet = thing.tagSet.filter(({ key }) => !keys.includes(key));
        }
        return { return: true };
      },
      DescribeTags: () => ({ tagSet: [] }),
      DescribeRegions: () => ({
        regionInfo: [
          { regionName: region, optInStatus: 'opt-in-not-required', regionEndpoint: '' },
        ],
      }),
      DescribeAvailabilityZones: () => ({
        availabilityZoneInfo: ['a', 'b', 'c'].map((letter, index) => ({
          zoneName: `${region}${letter}`,
          zoneId: `use1-az${index + 1}`,
          zoneState: 'available',
          zoneType: 'availability-zone',
          regionName: region,
          optInStatus: 'opt-in-not-required',
          groupName: region,
          networkBorderGroup: region,
        })),
      }),
    };
  }

  async handle(action: string, query: Query): Promise<Xml> {
    const handler = this.#handlers[action];
    if (handler === undefined)
      throw new AwsError('FakeGap', `the fake knows no ec2 ${action}`, 501);
    return handler(query);
  }

  /** What is still there that somebody would pay for or stumble over. */
  leftovers(): string[] {
    const { vpcs, subnets, gateways, tables } = this.networks;
    return [
      ...vpcs.all().map(({ vpcId }) => vpcId),
      ...subnets.all().map(({ subnetId }) => subnetId),
      ...gateways.all().map(({ internetGatewayId }) => internetGatewayId),
      ...tables.all().map(({ routeTableId }) => routeTableId),
      ...this.groups.groups.all().map(({ groupId }) => groupId),
      ...this.instances.living().map(({ instanceId }) => instanceId),
      ...this.instances.addresses.all().map(({ allocationId }) => allocationId),
    ];
  }

  #named(query: Query): Thing[] {
    const { vpcs, subnets, gateways, tables } = this.networks;
    const shelves = [
      ...[vpcs, subnets, gateways, tables, this.groups.groups, this.groups.rules],
      ...[this.instances.instances, this.instances.volumes, this.instances.addresses],
    ];
    return query
      .list('ResourceId')
      .flatMap((id) => shelves.map((shelf) => shelf.get(id)))
      .filter((thing) => thing !== undefined);
  }
}
