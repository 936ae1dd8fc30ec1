import { type Attributes, resources, type Synthesized } from './synthesized.ts';

/** What a stack must never do, or always has to: a sentence for each breach. */
export function policyProblems(whole: Synthesized): string[] {
  return [
    ...resources(whole, 'aws_instance').flatMap(([name, host]) => hostProblems(name, host)),
    ...identityProblems(whole),
    ...secretProblems(whole),
    ...networkProblems(whole),
    ...storeProblems(whole),
  ];
}

function hostProblems(name: string, host: Attributes): string[] {
  const { http_tokens: tokens, http_put_response_hop_limit: hops } = (host['metadata_options'] ??
    {}) as Attributes;
  const disk = (host['root_block_device'] ?? {}) as Attributes;
  const life = (host['lifecycle'] ?? {}) as Attributes;
  const [, capabilities = 'g'] =
    /^[a-z]+\d+([a-z0-9-]*)\./.exec(String(host['instance_type'])) ?? [];
  return [
    tokens === 'required' || `${name} answers metadata requests without a token (IMDSv1)`,
    hops === 1 || `${name}: metadata answers may leave the host`,
    (disk['encrypted'] === true && disk['volume_type'] === 'gp3') ||
      `${name}: its disk is not encrypted gp3`,
    host['key_name'] === undefined || `${name} has an SSH key`,
    !capabilities.includes('g') || `${name}: ${String(host['instance_type'])} is not x86-64`,
    (life['create_before_destroy'] === true && host['user_data_replace_on_change'] === true) ||
      `${name} is not replaced by a new one before it goes`,
    (life['ignore_changes'] as unknown[] | undefined)?.includes('ami') === true ||
      `${name} is replaced whenever there is a newer image`,
  ].filter((problem) => typeof problem === 'string');
}

interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource?: string | readonly string[];
}

function identityProblems(whole: Synthesized): string[] {
  const many = (value: string | readonly string[] = []): readonly string[] =>
    typeof value === 'string' ? [value] : value;
  return resources(whole, 'aws_iam_role_policy').flatMap(([name, { policy }]) => {
    const { Statement: statements } = JSON.parse(String(policy)) as { Statement: Statement[] };
    const allowed = statements.filter(({ Effect }) => Effect === 'Allow');
    const wide = allowed.flatMap(({ Action, Resource }) => [...many(Action), ...many(Resource)]);
    const role = name.split('-')[0] as string;
    const other = role === 'rendezvous' ? 'loadbalancer' : 'rendezvous';
    return [
      ...wide.filter((text) => text.includes('*')).map((text) => `${name} allows ${text}`),
      ...wide
        .filter((text) => text.includes(`secrets-${other}`))
        .map(() => `${name}: a ${role} host may read the keys of a ${other} host`),
      ...(statements.some(({ Effect }) => Effect === 'Deny')
        ? []
        : [`${name}: nothing takes back that the managed policy allows to read every parameter`]),
    ];
  });
}

function secretProblems(whole: Synthesized): string[] {
  const problems = resources(whole, 'aws_ssm_parameter').flatMap(([name, parameter]) => [
    ...(parameter['type'] === 'SecureString' ? [] : [`${name} is not encrypted`]),
    ...('value' in parameter || 'insecure_value' in parameter
      ? [`${name}: its value gets into Terraform's state`]
      : []),
  ]);
  const text = JSON.stringify(whole);
  if (text.includes('PRIVATE KEY')) problems.push('a private key is in the stack');
  if (text.includes('ca-key')) problems.push('the stack knows where the authority’s own key is');
  return problems;
}

function networkProblems(whole: Synthesized): string[] {
  const problems: string[] = [];
  for (const [name, { ingress, egress }] of resources(whole, 'aws_default_security_group')) {
    const empty = [ingress, egress].every((rules) => Array.isArray(rules) && rules.length === 0);
    if (!empty) problems.push(`the default security group (${name}) lets something through`);
  }
  const outs = resources(whole, 'aws_vpc_security_group_egress_rule').map(([, rule]) => rule);
  for (const [name] of resources(whole, 'aws_security_group')) {
    for (const [attribute, all] of [
      ['cidr_ipv4', '0.0.0.0/0'],
      ['cidr_ipv6', '::/0'],
    ] as const) {
      const open = outs.some(
        (rule) =>
          rule['security_group_id'] === `\${aws_security_group.${name}.id}` &&
          rule['ip_protocol'] === '-1' &&
          rule[attribute] === all,
      );
      if (!open)
        problems.push(`${name} does not let everything out to ${all}: AWS tracks its flows`);
    }
  }
  return problems;
}

function storeProblems(whole: Synthesized): string[] {
  const closed = resources(whole, 'aws_s3_bucket_public_access_block').filter(
    ([, block]) =>
      block['block_public_acls'] === true &&
      block['block_public_policy'] === true &&
      block['ignore_public_acls'] === true &&
      block['restrict_public_buckets'] === true,
  );
  const encrypted = resources(whole, 'aws_s3_bucket_server_side_encryption_configuration');
  return resources(whole, 'aws_s3_bucket').flatMap(([name, bucket]) => [
    ...(closed.length > 0 ? [] : [`the bucket ${name} could be made public`]),
    ...(encrypted.length > 0 ? [] : [`the bucket ${name} is not encrypted`]),
    ...(bucket['force_destroy'] === true ? [] : [`the bucket ${name} outlives the cluster`]),
  ]);
}
