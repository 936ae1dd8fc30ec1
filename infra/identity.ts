import { IamInstanceProfile } from '@cdktf/provider-aws/lib/iam-instance-profile/index.js';
import { IamRolePolicyAttachment } from '@cdktf/provider-aws/lib/iam-role-policy-attachment/index.js';
import { IamRolePolicy } from '@cdktf/provider-aws/lib/iam-role-policy/index.js';
import { IamRole } from '@cdktf/provider-aws/lib/iam-role/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Role } from './role.ts';

export interface IdentityOptions {
  readonly name: string;
  readonly region: string;
  readonly role: Role;
  /** ARN of the object in S3 that a host may get. */
  readonly artifact: string;
  /** ARNs of the parameters that a host may read. */
  readonly parameters: readonly string[];
}

/** What a host of one role is to AWS, and so what it may do. */
export class Identity extends Construct {
  readonly profile: string;
  /** What has to be there before a host can do what it may. */
  readonly permissions: readonly ITerraformDependable[];

  constructor(scope: Construct, id: string, options: IdentityOptions) {
    super(scope, id);
    const { name, region, role, artifact, parameters } = options;
    const identity = new IamRole(this, 'role', {
      namePrefix: `${name}-${role}-`,
      description: `Chatty ${role}`,
      assumeRolePolicy: policy([
        {
          Effect: 'Allow',
          Action: 'sts:AssumeRole',
          Principal: { Service: 'ec2.amazonaws.com' },
        },
      ]),
    });
    const own = new IamRolePolicy(this, 'own', {
      namePrefix: 'own-',
      role: identity.id,
      policy: policy([
        { Sid: 'Artifact', Effect: 'Allow', Action: 's3:GetObject', Resource: artifact },
        { Sid: 'Keys', Effect: 'Allow', Action: 'ssm:GetParameter', Resource: parameters },
        {
          // The policy below allows to read every parameter of the account: this takes it back.
          Sid: 'NoOtherKeys',
          Effect: 'Deny',
          Action: [
            'ssm:GetParameter',
            'ssm:GetParameters',
            'ssm:GetParametersByPath',
            'ssm:GetParameterHistory',
          ],
          NotResource: parameters,
        },
      ]),
    });
    // Session Manager, instead of SSH, and the readiness gate.
    const managed = new IamRolePolicyAttachment(this, 'managed', {
      role: identity.name,
      policyArn: `arn:${partitionOf(region)}:iam::aws:policy/AmazonSSMManagedInstanceCore`,
    });
    const profile = new IamInstanceProfile(this, 'profile', {
      namePrefix: `${name}-${role}-`,
      role: identity.name,
    });
    this.profile = profile.name;
    this.permissions = [own, managed];
  }
}

function policy(statements: readonly object[]): string {
  return JSON.stringify({ Version: '2012-10-17', Statement: statements });
}

function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}
