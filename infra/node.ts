import { DataAwsSsmParameter } from '@cdktf/provider-aws/lib/data-aws-ssm-parameter/index.js';
import { Instance } from '@cdktf/provider-aws/lib/instance/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';

/** Amazon Linux 2023, x86-64: AWS publishes the newest under this name. */
const IMAGE = '/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64';
const DISK_GB = 8;

/** The newest image of Amazon Linux. */
export function newestImage(scope: Construct): string {
  return new DataAwsSsmParameter(scope, 'image', { name: IMAGE }).insecureValue;
}

export interface NodeOptions {
  readonly name: string;
  readonly image: string;
  readonly instanceType: string;
  readonly subnetId: string;
  readonly securityGroupId: string;
  readonly profile: string;
  readonly userData: string;
  /** What the host needs to begin. */
  readonly dependsOn: readonly ITerraformDependable[];
}

/** A host. It keeps nothing, so it is replaced rather than changed: first comes the new one. */
export class Node extends Construct {
  readonly host: Instance;

  constructor(scope: Construct, id: string, options: NodeOptions) {
    super(scope, id);
    this.host = new Instance(this, 'host', {
      ami: options.image,
      instanceType: options.instanceType,
      subnetId: options.subnetId,
      vpcSecurityGroupIds: [options.securityGroupId],
      iamInstanceProfile: options.profile,
      associatePublicIpAddress: true,
      userData: options.userData,
      userDataReplaceOnChange: true,
      metadataOptions: {
        httpEndpoint: 'enabled',
        httpTokens: 'required',
        httpPutResponseHopLimit: 1,
      },
      rootBlockDevice: {
        encrypted: true,
        volumeType: 'gp3',
        volumeSize: DISK_GB,
        deleteOnTermination: true,
      },
      tags: { Name: options.name },
      dependsOn: [...options.dependsOn],
      // A newer image is a reason for a new host only where there is another one.
      lifecycle: { createBeforeDestroy: true, ignoreChanges: ['ami'] },
    });
  }
}

/** What `replaceTriggeredBy` takes for "whenever this host is another one". */
export function replacementOf(host: Instance): string {
  return `${host.terraformResourceType}.${host.friendlyUniqueId}.id`;
}
