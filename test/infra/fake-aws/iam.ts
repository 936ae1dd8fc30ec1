import { ACCOUNT } from './ec2-network.ts';
import { AwsError, type Query } from './query.ts';
import type { Handlers } from './shelf.ts';
import type { Xml } from './xml.ts';

type Role = {
  RoleName: string;
  AssumeRolePolicyDocument: string;
  shown: { [key: string]: Xml };
  inline: Map<string, string>;
  attached: Set<string>;
  tags: Map<string, string>;
};
type Profile = {
  InstanceProfileName: string;
  shown: { [key: string]: Xml };
  roles: string[];
  tags: Map<string, string>;
};

/** IAM: roles, their policies, instance profiles. */
export class Iam {
  readonly roles = new Map<string, Role>();
  readonly profiles = new Map<string, Profile>();
  #made = 0;

  readonly handlers: Handlers = {
    CreateRole: (query) => {
      const RoleName = query.need('RoleName');
      const path = query.get('Path') ?? '/';
      const role = {
        RoleName,
        AssumeRolePolicyDocument: query.need('AssumeRolePolicyDocument'),
        shown: {
          Path: path,
          RoleName,
          RoleId: this.#id('AROA'),
          Arn: `arn:aws:iam::${ACCOUNT}:role${path}${RoleName}`,
          CreateDate: '2026-01-01T00:00:00Z',
          Description: query.get('Description'),
          MaxSessionDuration: Number(query.get('MaxSessionDuration') ?? 3600),
        },
        inline: new Map<string, string>(),
        attached: new Set<string>(),
        tags: tags(query),
      };
      this.roles.set(RoleName, role);
      return { Role: shownRole(role) };
    },
    GetRole: (query) => ({ Role: shownRole(this.#role(query)) }),
    UpdateAssumeRolePolicy: (query) => {
      this.#role(query).AssumeRolePolicyDocument = query.need('PolicyDocument');
      return {};
    },
    DeleteRole: (query) => {
      const role = this.#role(query);
      const held = [...this.profiles.values()].some(({ roles }) => roles.includes(role.RoleName));
      if (held || role.inline.size > 0 || role.attached.size > 0) {
        throw new AwsError(
          'DeleteConflict',
          'Cannot delete entity, must detach all policies first.',
          409,
        );
      }
      this.roles.delete(role.RoleName);
      return {};
    },
    TagRole: (query) => (merge(this.#role(query).tags, tags(query)), {}),
    UntagRole: (query) => (drop(this.#role(query).tags, query.list('TagKeys')), {}),
    ListRoleTags: (query) => ({ IsTruncated: false, Tags: shownTags(this.#role(query).tags) }),
    PutRolePolicy: (query) => {
      this.#role(query).inline.set(query.need('PolicyName'), query.need('PolicyDocument'));
      return {};
    },
    GetRolePolicy: (query) => {
      const role = this.#role(query);
      const PolicyName = query.need('PolicyName');
      const document = role.inline.get(PolicyName);
      if (document === undefined) throw missing(`role policy ${PolicyName}`);
      return { RoleName: role.RoleName, PolicyName, PolicyDocument: encodeURIComponent(document) };
    },
    DeleteRolePolicy: (query) => {
      if (!this.#role(query).inline.delete(query.need('PolicyName'))) throw missing('role policy');
      return {};
    },
    ListRolePolicies: (query) => ({
      IsTruncated: false,
      PolicyNames: [...this.#role(query).inline.keys()],
    }),
    AttachRolePolicy: (query) => (this.#role(query).attached.add(query.need('PolicyArn')), {}),
    DetachRolePolicy: (query) => {
      if (!this.#role(query).attached.delete(query.need('PolicyArn')))
        throw missing('attached policy');
      return {};
    },
    ListAttachedRolePolicies: (query) => ({
      IsTruncated: false,
      AttachedPolicies: [...this.#role(query).attached].map((arn) => ({
        PolicyArn: arn,
        PolicyName: arn.split('/').pop(),
      })),
    }),
    ListInstanceProfilesForRole: (query) => ({
      IsTruncated: false,
      InstanceProfiles: [...this.profiles.values()]
        .filter(({ roles }) => roles.includes(query.need('RoleName')))
        .map((profile) => this.#shownProfile(profile)),
    }),
    CreateInstanceProfile: (query) => {
      const InstanceProfileName = query.need('InstanceProfileName');
      const path = query.get('Path') ?? '/';
      const profile = {
        InstanceProfileName,
        shown: {
          Path: path,
          InstanceProfileName,
          InstanceProfileId: this.#id('AIPA'),
          Arn: `arn:aws:iam::${ACCOUNT}:instance-profile${path}${InstanceProfileName}`,
          CreateDate: '2026-01-01T00:00:00Z',
        },
        roles: [],
        tags: tags(query),
      };
      this.profiles.set(InstanceProfileName, profile);
      return { InstanceProfile: this.#shownProfile(profile) };
    },
    GetInstanceProfile: (query) => ({ InstanceProfile: this.#shownProfile(this.#profile(query)) }),
    AddRoleToInstanceProfile: (query) => (
      this.#profile(query).roles.push(this.#role(query).RoleName),
      {}
    ),
    RemoveRoleFromInstanceProfile: (query) => {
      const profile = this.#profile(query);
      profile.roles = profile.roles.filter((name) => name !== query.need('RoleName'));
      return {};
    },
    DeleteInstanceProfile: (query) => {
      const profile = this.#profile(query);
      if (profile.roles.length > 0)
        throw new AwsError('DeleteConflict', 'It still has a role.', 409);
      this.profiles.delete(profile.InstanceProfileName);
      return {};
    },
    TagInstanceProfile: (query) => (merge(this.#profile(query).tags, tags(query)), {}),
    UntagInstanceProfile: (query) => (drop(this.#profile(query).tags, query.list('TagKeys')), {}),
  };

  async handle(action: string, query: Query): Promise<Xml> {
    const handler = this.handlers[action];
    if (handler === undefined)
      throw new AwsError('FakeGap', `the fake knows no iam ${action}`, 501);
    return handler(query);
  }

  /** The name of the role and the policies written into it that an instance profile gives. */
  grantOf(profile: string): { role: string; policies: readonly string[] } | undefined {
    const name = this.profiles.get(profile)?.roles[0];
    const role = name === undefined ? undefined : this.roles.get(name);
    return role === undefined
      ? undefined
      : { role: role.RoleName, policies: [...role.inline.values()] };
  }

  leftovers(): string[] {
    return [...this.roles.keys(), ...this.profiles.keys()].map((name) => `iam ${name}`);
  }

  #role(query: Query): Role {
    const role = this.roles.get(query.need('RoleName'));
    if (role === undefined) throw missing(`role ${query.need('RoleName')}`);
    return role;
  }

  #profile(query: Query): Profile {
    const profile = this.profiles.get(query.need('InstanceProfileName'));
    if (profile === undefined)
      throw missing(`instance profile ${query.need('InstanceProfileName')}`);
    return profile;
  }

  #shownProfile(profile: Profile): Xml {
    const roles = profile.roles
      .map((name) => this.roles.get(name))
      .filter((role) => role !== undefined)
      .map(shownRole);
    return { ...profile.shown, Roles: roles, Tags: shownTags(profile.tags) };
  }

  #id(prefix: string): string {
    this.#made += 1;
    return `${prefix}${String(this.#made).padStart(17, '0')}`;
  }
}

function shownRole(role: Role): Xml {
  return {
    ...role.shown,
    AssumeRolePolicyDocument: encodeURIComponent(role.AssumeRolePolicyDocument),
    Tags: shownTags(role.tags),
  };
}

function missing(what: string): AwsError {
  return new AwsError('NoSuchEntity', `The ${what} cannot be found.`, 404);
}

function tags(query: Query): Map<string, string> {
  return new Map(query.groups('Tags').map((tag) => [tag.need('Key'), tag.get('Value') ?? '']));
}

function shownTags(of: ReadonlyMap<string, string>): Xml {
  return [...of].map(([Key, Value]) => ({ Key, Value }));
}

function merge(into: Map<string, string>, more: ReadonlyMap<string, string>): void {
  for (const [key, value] of more) into.set(key, value);
}

function drop(from: Map<string, string>, keys: readonly string[]): void {
  for (const key of keys) from.delete(key);
}
