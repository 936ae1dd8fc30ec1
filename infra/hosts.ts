import type { Instance } from '@cdktf/provider-aws/lib/instance/index.js';
import { Construct } from 'constructs';
import type { Artifact } from './artifact.ts';
import { Identity } from './identity.ts';
import type { Network } from './network.ts';
import { Node } from './node.ts';
import type { Role } from './role.ts';
import type { Secrets } from './secrets.ts';
import { type HostConfiguration, userData } from './user-data.ts';

export interface HostsOptions {
  readonly name: string;
  readonly region: string;
  readonly role: Role;
  readonly image: string;
  readonly instanceType: string;
  readonly securityGroupId: string;
  readonly network: Network;
  readonly artifact: Artifact;
  readonly secrets: Secrets;
}

/** What one host has of its own. */
type Own = Pick<HostConfiguration, 'ports' | 'address' | 'servers'>;

/** The hosts of one role, spread over the zones. */
export class Hosts extends Construct {
  readonly #options: HostsOptions;
  readonly #identity: Identity;

  constructor(scope: Construct, id: string, options: HostsOptions) {
    super(scope, id);
    this.#options = options;
    const { name, region, role, artifact, secrets } = options;
    this.#identity = new Identity(this, 'identity', {
      ...{ name, region, role, artifact: artifact.arn },
      parameters: secrets.parametersOf(role).map(({ arn }) => arn),
    });
  }

  add(count: number, ownOf: (index: number) => Own): readonly Instance[] {
    const { name, region, role, network, artifact, secrets } = this.#options;
    const { image, instanceType, securityGroupId } = this.#options;
    const keys = { path: secrets.path, version: secrets.versions[role] };
    return Array.from({ length: count }, (_, index) => {
      const number = index + 1;
      const { host } = new Node(this, `${number}`, {
        name: `${name}-${role}-${number}`,
        ...{ image, instanceType, securityGroupId },
        subnetId: network.subnetIds[index % network.subnetIds.length] as string,
        profile: this.#identity.profile,
        userData: userData({ role, region, artifact, keys, ...ownOf(index) }),
        dependsOn: [
          ...network.wayOut,
          ...this.#identity.permissions,
          ...secrets.parametersOf(role),
          artifact.object,
        ],
      });
      return host;
    });
  }
}
