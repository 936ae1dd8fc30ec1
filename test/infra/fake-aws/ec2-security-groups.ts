import { ACCOUNT } from './ec2-network.ts';
import { AwsError, type Query } from './query.ts';
import { Shelf, tagsOf, type Handlers, type Thing } from './shelf.ts';
import type { Xml } from './xml.ts';

/** One rule: what it allows, from or to where. Exactly one of the four sources is set. */
export type Rule = Thing & {
  securityGroupRuleId: string;
  groupId: string;
  isEgress: boolean;
  /** `tcp`, `udp`, `-1` for all. */
  ipProtocol: string;
  fromPort: number;
  toPort: number;
  cidrIpv4: string | undefined;
  cidrIpv6: string | undefined;
  referenced: string | undefined;
  description: string | undefined;
};
type Group = Thing & {
  groupId: string;
  groupName: string;
  groupDescription: string;
  vpcId: string;
};

/** EC2's security groups; `inUse` says whether an instance still carries the group. */
export class SecurityGroups {
  readonly groups = new Shelf<Group>('sg', 'InvalidGroup');
  readonly rules = new Shelf<Rule>('sgr', 'InvalidSecurityGroupRuleId');
  readonly #inUse: (groupId: string) => boolean;

  constructor(inUse: (groupId: string) => boolean) {
    this.#inUse = inUse;
  }

  readonly handlers: Handlers = {
    CreateSecurityGroup: (query) => {
      const groupId = this.create(
        query.need('VpcId'),
        query.need('GroupName'),
        query.need('GroupDescription'),
      );
      this.groups.need(groupId).tagSet = tagsOf(query);
      return { return: true, groupId, tagSet: tagsOf(query) };
    },
    DeleteSecurityGroup: (query) => {
      const groupId = query.need('GroupId');
      const referenced = this.rules
        .all()
        .some((rule) => rule.referenced === groupId && rule.groupId !== groupId);
      if (referenced || this.#inUse(groupId)) {
        throw new AwsError('DependencyViolation', `resource ${groupId} has a dependent object`);
      }
      this.#drop(groupId);
      return { return: true, groupId };
    },
    DescribeSecurityGroups: (query) => ({
      securityGroupInfo: this.groups
        .find(query, 'GroupId', {
          'group-id': (group) => [group.groupId],
          'group-name': (group) => [group.groupName],
          'vpc-id': (group) => [group.vpcId],
        })
        .map((group) => ({
          ...group,
          ipPermissions: this.#permissions(group.groupId, false),
          ipPermissionsEgress: this.#permissions(group.groupId, true),
        })),
    }),
    AuthorizeSecurityGroupIngress: (query) => this.#authorize(query, false),
    AuthorizeSecurityGroupEgress: (query) => this.#authorize(query, true),
    RevokeSecurityGroupIngress: (query) => this.#revoke(query, false),
    RevokeSecurityGroupEgress: (query) => this.#revoke(query, true),
    DescribeSecurityGroupRules: (query) => ({
      securityGroupRuleSet: this.rules
        .find(query, 'SecurityGroupRuleId', {
          'group-id': (rule) => [rule.groupId],
          'security-group-rule-id': (rule) => [rule.securityGroupRuleId],
        })
        .map(shown),
    }),
    ModifySecurityGroupRules: (query) => {
      for (const change of query.groups('SecurityGroupRule')) {
        const rule = this.rules.need(change.need('SecurityGroupRuleId'));
        Object.assign(rule, wanted(change.under('SecurityGroupRule')));
      }
      return { return: true };
    },
  };

  /** Makes a group as AWS does: nothing in, everything out over IPv4. */
  create(vpcId: string, groupName: string, groupDescription: string): string {
    const groupId = this.groups.nextId();
    this.groups.put(groupId, {
      groupId,
      groupName,
      groupDescription,
      vpcId,
      ownerId: ACCOUNT,
      securityGroupArn: `arn:aws:ec2:us-east-1:${ACCOUNT}:security-group/${groupId}`,
      tagSet: [],
    });
    this.#add(groupId, true, { ipProtocol: '-1', fromPort: -1, toPort: -1, cidrIpv4: '0.0.0.0/0' });
    if (groupName === 'default') {
      this.#add(groupId, false, {
        ipProtocol: '-1',
        fromPort: -1,
        toPort: -1,
        referenced: groupId,
      });
    }
    return groupId;
  }

  /** Takes a VPC's own group away together with the VPC. */
  dropDefault(vpcId: string): void {
    for (const group of this.groups.all()) {
      if (group.vpcId === vpcId && group.groupName === 'default') this.#drop(group.groupId);
    }
  }

  #drop(groupId: string): void {
    this.groups.delete(groupId);
    for (const rule of this.rules.all()) {
      if (rule.groupId === groupId) this.rules.delete(rule.securityGroupRuleId);
    }
  }

  #authorize(query: Query, isEgress: boolean): Xml {
    const { groupId } = this.groups.need(query.need('GroupId'));
    const made = query
      .groups('IpPermissions')
      .flatMap(sources)
      .map((source) => this.#add(groupId, isEgress, source));
    for (const rule of made) rule.tagSet = tagsOf(query);
    return { return: true, securityGroupRuleSet: made.map(shown) };
  }

  #revoke(query: Query, isEgress: boolean): Xml {
    const { groupId } = this.groups.need(query.need('GroupId'));
    for (const id of query.list('SecurityGroupRuleId')) this.rules.delete(id);
    for (const source of query.groups('IpPermissions').flatMap(sources)) {
      for (const rule of this.rules.all()) {
        const same =
          rule.groupId === groupId && rule.isEgress === isEgress && keyOf(rule) === keyOf(source);
        if (same) this.rules.delete(rule.securityGroupRuleId);
      }
    }
    return { return: true };
  }

  #add(groupId: string, isEgress: boolean, source: Source): Rule {
    const securityGroupRuleId = this.rules.nextId();
    if (
      this.rules
        .all()
        .some(
          (rule) =>
            rule.groupId === groupId && rule.isEgress === isEgress && keyOf(rule) === keyOf(source),
        )
    ) {
      throw new AwsError(
        'InvalidPermission.Duplicate',
        `the specified rule "${keyOf(source)}" already exists`,
      );
    }
    return this.rules.put(securityGroupRuleId, {
      cidrIpv4: undefined,
      cidrIpv6: undefined,
      referenced: undefined,
      description: undefined,
      ...source,
      securityGroupRuleId,
      groupId,
      isEgress,
      tagSet: [],
    });
  }

  #permissions(groupId: string, isEgress: boolean): Xml {
    return this.rules
      .all()
      .filter((rule) => rule.groupId === groupId && rule.isEgress === isEgress)
      .map((rule) => ({
        ipProtocol: rule.ipProtocol,
        ...(rule.ipProtocol === '-1' ? {} : { fromPort: rule.fromPort, toPort: rule.toPort }),
        ipRanges: rule.cidrIpv4 === undefined ? [] : [{ cidrIp: rule.cidrIpv4 }],
        ipv6Ranges: rule.cidrIpv6 === undefined ? [] : [{ cidrIpv6: rule.cidrIpv6 }],
        groups:
          rule.referenced === undefined ? [] : [{ groupId: rule.referenced, userId: ACCOUNT }],
      }));
  }
}

type Source = Pick<Rule, 'ipProtocol' | 'fromPort' | 'toPort'> &
  Partial<Pick<Rule, 'cidrIpv4' | 'cidrIpv6' | 'referenced' | 'description'>>;

function sources(permission: Query): Source[] {
  const range = {
    ipProtocol: permission.need('IpProtocol'),
    fromPort: Number(permission.get('FromPort') ?? -1),
    toPort: Number(permission.get('ToPort') ?? -1),
  };
  return [
    ...permission
      .groups('IpRanges')
      .map((one) => ({ cidrIpv4: one.need('CidrIp'), description: one.get('Description') })),
    ...permission
      .groups('Ipv6Ranges')
      .map((one) => ({ cidrIpv6: one.need('CidrIpv6'), description: one.get('Description') })),
    ...permission
      .groups('Groups')
      .map((one) => ({ referenced: one.need('GroupId'), description: one.get('Description') })),
    ...permission
      .groups('UserIdGroupPairs')
      .map((one) => ({ referenced: one.need('GroupId'), description: one.get('Description') })),
  ].map((source) => ({ ...range, ...source }));
}

function wanted(query: Query | undefined): Source | undefined {
  if (query === undefined) return undefined;
  return {
    ipProtocol: query.need('IpProtocol'),
    fromPort: Number(query.get('FromPort') ?? -1),
    toPort: Number(query.get('ToPort') ?? -1),
    cidrIpv4: query.get('CidrIpv4'),
    cidrIpv6: query.get('CidrIpv6'),
    referenced: query.get('ReferencedGroupId'),
    description: query.get('Description'),
  };
}

function keyOf(source: Source): string {
  const { ipProtocol, fromPort, toPort, cidrIpv4, cidrIpv6, referenced } = source;
  const ports = ipProtocol === '-1' ? 'all' : `${fromPort}-${toPort}`;
  return [ipProtocol, ports, cidrIpv4 ?? cidrIpv6 ?? referenced].join(' ');
}

function shown(rule: Rule): Xml {
  const { referenced, ...rest } = rule;
  return {
    ...rest,
    groupOwnerId: ACCOUNT,
    securityGroupRuleArn: `arn:aws:ec2:us-east-1:${ACCOUNT}:security-group-rule/${rule.securityGroupRuleId}`,
    referencedGroupInfo:
      referenced === undefined ? undefined : { groupId: referenced, userId: ACCOUNT },
  };
}
