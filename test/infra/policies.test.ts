import { describe, expect, it } from 'vitest';
import { policyProblems } from './policies.ts';
import {
  type Attributes,
  planted,
  resources,
  synthesize,
  type Synthesized,
} from './synthesized.ts';

const whole = synthesize();

const first = (copy: Synthesized, type: string): Attributes =>
  resources(copy, type)[0]?.[1] as Attributes;

/** The block of a resource's. */
const block = (copy: Synthesized, type: string, name: string): Attributes =>
  first(copy, type)[name] as Attributes;

/** Changes the policy of the load balancers' hosts. */
function inPolicy(copy: Synthesized, from: string | RegExp, to: string): void {
  const policy = first(copy, 'aws_iam_role_policy');
  policy['policy'] = String(policy['policy']).replace(from, to);
}

describe('the stack', () => {
  it('keeps to the policies', () => {
    expect(policyProblems(whole)).toEqual([]);
  });

  it.each<[string, (copy: Synthesized) => unknown, RegExp]>([
    [
      'IMDSv1',
      (copy) => (block(copy, 'aws_instance', 'metadata_options')['http_tokens'] = 'optional'),
      /answers metadata requests without a token/,
    ],
    [
      'a hop limit of 2',
      (copy) =>
        (block(copy, 'aws_instance', 'metadata_options')['http_put_response_hop_limit'] = 2),
      /metadata answers may leave/,
    ],
    [
      'a plain disk',
      (copy) => (block(copy, 'aws_instance', 'root_block_device')['encrypted'] = false),
      /disk is not encrypted/,
    ],
    ['an SSH key', (copy) => (first(copy, 'aws_instance')['key_name'] = 'mine'), /SSH key/],
    [
      'ARM cores',
      (copy) => (first(copy, 'aws_instance')['instance_type'] = 't4g.small'),
      /t4g.small is not x86-64/,
    ],
    [
      'the old host going first',
      (copy) => (block(copy, 'aws_instance', 'lifecycle')['create_before_destroy'] = false),
      /not replaced by a new one/,
    ],
    [
      'the newest image always',
      (copy) => (block(copy, 'aws_instance', 'lifecycle')['ignore_changes'] = []),
      /whenever there is a newer image/,
    ],
    [
      'any action',
      (copy) => inPolicy(copy, 's3:GetObject', 's3:*'),
      /loadbalancer-identity-own allows s3:\*/,
    ],
    [
      'any object',
      (copy) => inPolicy(copy, /"Resource":"[^"]*"/, '"Resource":"*"'),
      /loadbalancer-identity-own allows \*/,
    ],
    [
      'the keys of the other role',
      (copy) => inPolicy(copy, 'secrets-loadbalancer-key', 'secrets-rendezvous-key'),
      /a loadbalancer host may read the keys of a rendezvous host/,
    ],
    ['no denial', (copy) => inPolicy(copy, '"Deny"', '"Allow"'), /nothing takes back/],
    [
      'a secret in the state',
      (copy) => {
        const parameter = first(copy, 'aws_ssm_parameter');
        parameter['value'] = parameter['value_wo'];
      },
      /value gets into Terraform's state/,
    ],
    [
      'a plain parameter',
      (copy) => (first(copy, 'aws_ssm_parameter')['type'] = 'String'),
      /is not encrypted/,
    ],
    [
      'a private key',
      (copy) => (first(copy, 'aws_instance')['user_data'] = '-----BEGIN PRIVATE KEY-----'),
      /a private key is in the stack/,
    ],
    [
      'a default group with rules',
      (copy) => (first(copy, 'aws_default_security_group')['ingress'] = [{ protocol: '-1' }]),
      /default security group/,
    ],
    [
      'tracked flows',
      (copy) =>
        delete copy.resource['aws_vpc_security_group_egress_rule']?.[
          'firewall-rendezvous-out-ipv6'
        ],
      /firewall-rendezvous does not let everything out to ::\/0/,
    ],
    [
      'an open bucket',
      (copy) => delete copy.resource['aws_s3_bucket_public_access_block'],
      /could be made public/,
    ],
    [
      'a plain bucket',
      (copy) => delete copy.resource['aws_s3_bucket_server_side_encryption_configuration'],
      /is not encrypted/,
    ],
    [
      'a bucket that stays',
      (copy) => (first(copy, 'aws_s3_bucket')['force_destroy'] = false),
      /outlives the cluster/,
    ],
  ])('is found out with %s', (_fault, plant, problem) => {
    expect(policyProblems(planted(whole, plant))).toContainEqual(expect.stringMatching(problem));
  });
});
