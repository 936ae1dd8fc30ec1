import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Attributes, resources, synthesize, type Synthesized } from './synthesized.ts';
import { describeWith } from './tools.ts';

const whole = synthesize();
const ROOT = resolve(import.meta.dirname, '..', '..');

function all(type: string, of: Synthesized = whole): Attributes[] {
  return resources(of, type).map(([, attributes]) => attributes);
}

function lifecycle(attributes: Attributes): Attributes {
  return (attributes['lifecycle'] ?? {}) as Attributes;
}

/** All that a resource refers to, directly or by way of others. */
function behind(of: Synthesized, address: string, seen = new Set<string>()): Set<string> {
  const [type = '', name = ''] = address.split('.');
  const text = JSON.stringify(of.resource[type]?.[name] ?? {});
  for (const [, found] of text.matchAll(/\b(aws_\w+\.[a-z0-9-]+)/g)) {
    if (found === undefined || found === address || seen.has(found)) continue;
    seen.add(found);
    behind(of, found, seen);
  }
  return seen;
}

describe('the stack', () => {
  it('is two load balancers and two servers, each a resource of its own', () => {
    expect(Object.keys(whole.resource['aws_instance'] ?? {})).toEqual([
      'loadbalancer-1-host',
      'loadbalancer-2-host',
      'rendezvous-1-host',
      'rendezvous-2-host',
    ]);
    for (const host of all('aws_instance')) expect(host).not.toHaveProperty('count');
  });

  it('has as many as the settings say, and leaves those before as they are', () => {
    const more = synthesize({ loadBalancers: 3, rendezvousServers: 5 });
    expect(all('aws_instance', more)).toHaveLength(8);
    expect(all('aws_eip', more)).toHaveLength(3);
    expect(more.resource['aws_instance']).toMatchObject(whole.resource['aws_instance'] as object);
  });

  it('spreads each role over the zones', () => {
    const subnets = resources(whole, 'aws_instance').map(([, host]) => host['subnet_id']);
    const [one, two] = [1, 2].map((number) => `\${aws_subnet.network-subnet-${number}.id}`);
    expect(subnets).toEqual([one, two, one, two]);
    const named = synthesize({ zones: ['eu-west-1a', 'eu-west-1b', 'eu-west-1c'] });
    const zones = all('aws_subnet', named).map((subnet) => subnet['availability_zone']);
    expect(zones).toEqual(['eu-west-1a', 'eu-west-1b', 'eu-west-1c']);
  });

  it('speaks IPv4 and IPv6', () => {
    expect(all('aws_vpc')[0]).toMatchObject({ assign_generated_ipv6_cidr_block: true });
    for (const subnet of all('aws_subnet')) {
      expect(subnet).toMatchObject({ assign_ipv6_address_on_creation: true });
    }
    const ways = all('aws_route').flatMap((route) => [
      ...[route['destination_cidr_block'], route['destination_ipv6_cidr_block']],
    ]);
    expect(ways).toEqual(expect.arrayContaining(['0.0.0.0/0', '::/0']));
  });

  it('needs a Terraform that knows write-only arguments', () => {
    expect(whole.terraform.required_version).toBe('>= 1.11');
    for (const parameter of all('aws_ssm_parameter')) {
      expect(parameter).toHaveProperty('value_wo');
      expect(parameter).toHaveProperty('value_wo_version');
    }
  });

  it('keeps its state in a file, or in a bucket with a lock', () => {
    expect(whole.terraform.backend).toEqual({
      local: { path: '/nowhere/terraform.chatty.tfstate' },
    });
    expect(synthesize({ stateBucket: 'my-states', name: 'club' }).terraform.backend).toEqual({
      s3: {
        ...{ bucket: 'my-states', key: 'chatty/club.tfstate', region: 'us-east-1' },
        ...{ encrypt: true, use_lockfile: true },
      },
    });
  });

  it('tells the operator five things', () => {
    expect(Object.keys(whole.output).sort()).toEqual([
      ...['cluster_ca_pem', 'load_balancers', 'peer_command', 'rendezvous_servers'],
      'session_manager',
    ]);
  });
});

describe('a replacement', () => {
  const gates = resources(whole, 'aws_ssm_association');

  it('makes the new one first, of all that stands between a host and its friends', () => {
    const types = [
      'aws_instance',
      'aws_ssm_association',
      'aws_route53_record',
      'aws_eip_association',
    ];
    for (const type of [...types, 'aws_s3_object']) {
      for (const attributes of all(type)) {
        expect([type, lifecycle(attributes)['create_before_destroy']]).toEqual([type, true]);
      }
    }
  });

  it('waits at a gate for each host, which is made anew with it', () => {
    expect(gates).toHaveLength(4);
    for (const [name, gate] of gates) {
      const host = `aws_instance.${name.replace('-ready-gate', '-host')}`;
      expect(JSON.stringify(gate['targets'])).toContain(`\${${host}.id}`);
      expect(lifecycle(gate)['replace_triggered_by']).toContain(`${host}.id`);
      expect(gate['wait_for_success_timeout_seconds']).toBeGreaterThan(900);
    }
  });

  it('asks each balancer for every server, anew whenever one of these is new', () => {
    for (const [name, gate] of gates.filter(([gateName]) => gateName.startsWith('loadbalancer'))) {
      for (const server of ['rendezvous-1', 'rendezvous-2']) {
        const host = `aws_instance.${server}-host`;
        expect([name, (gate['parameters'] as Attributes)['commands']]).toEqual([
          name,
          expect.stringContaining(`\${${host}.private_ip}`),
        ]);
        expect(lifecycle(gate)['replace_triggered_by']).toContain(`${host}.id`);
      }
    }
  });

  it('moves the balancers’ addresses last, after every gate', () => {
    for (const [name] of resources(whole, 'aws_eip_association')) {
      const before = behind(whole, `aws_eip_association.${name}`);
      const own = name.replace('address-', 'loadbalancer-').replace('-host', '-ready-gate');
      expect([...before]).toEqual(
        expect.arrayContaining([
          `aws_ssm_association.${own}`,
          'aws_ssm_association.rendezvous-1-ready-gate',
          'aws_ssm_association.rendezvous-2-ready-gate',
          'aws_route53_record.names-loadbalancer-1',
        ]),
      );
    }
  });

  it('keeps the old balancer’s name beside the new one’s', () => {
    for (const [name, record] of resources(whole, 'aws_route53_record')) {
      const host = `aws_instance.${name.replace('names-', '')}-host`;
      expect(record).toMatchObject({
        name: 'lb.chatty.internal',
        multivalue_answer_routing_policy: true,
        set_identifier: `\${${host}.id}`,
        records: [`\${${host}.private_ip}`],
      });
      expect(lifecycle(record)['replace_triggered_by']).toEqual([`${host}.id`]);
    }
  });

  it('has a host begin only when it can get what it needs', () => {
    for (const [name] of resources(whole, 'aws_instance')) {
      const role = name.split('-')[0] as string;
      const before = behind(whole, `aws_instance.${name}`);
      for (const needed of [
        'aws_route.network-ipv4',
        'aws_s3_object.artifact-tarball',
        `aws_ssm_parameter.secrets-${role}-key`,
        `aws_iam_role_policy.${role}-identity-own`,
      ]) {
        expect([name, before.has(needed), needed]).toEqual([name, true, needed]);
      }
    }
  });

  it('does not make servers wait for a certain balancer', () => {
    const before = behind(whole, 'aws_instance.rendezvous-1-host');
    expect([...before].filter((address) => /loadbalancer-\d|eip|route53/.test(address))).toEqual(
      [],
    );
  });
});

describe('the command line', () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'chatty-synth-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** What somebody has who has only just cloned the project: no credentials, no keys. */
  function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const { PATH, SystemRoot } = process.env;
    return { PATH, SystemRoot, HOME: folder, CHECKPOINT_DISABLE: '1', ...more };
  }

  async function synth(outdir: string, more: NodeJS.ProcessEnv = {}): Promise<string> {
    const env = environment({ CDKTF_OUTDIR: join(folder, outdir), ...more });
    const program = ['--import', 'tsx', join(ROOT, 'infra', 'main.ts')];
    await promisify(execFile)(process.execPath, program, { cwd: ROOT, env });
    return readFileSync(join(folder, outdir, 'stacks', 'chatty', 'cdk.tf.json'), 'utf8');
  }

  it('makes the same bytes each time, with nothing there yet', async () => {
    const [one, two] = [await synth('one'), await synth('two')];
    expect(one).toBe(two);
    expect(existsSync(join(folder, '.local'))).toBe(false);
  });

  it('names what is wrong with a setting, and exits with 78', async () => {
    const wrong = synth('wrong', { CHATTY_INFRA_RENDEZVOUS_INSTANCE_TYPE: 't4g.small' });
    await expect(wrong).rejects.toMatchObject({
      code: 78,
      stderr: expect.stringContaining('CHATTY_INFRA_RENDEZVOUS_INSTANCE_TYPE') as string,
    });
  });

  describeWith(['terraform'], 'of CDKTF', () => {
    it('makes the stack', async () => {
      const cli = join(ROOT, 'node_modules', 'cdktf-cli', 'bundle', 'bin', 'cdktf');
      const output = join(folder, 'cdktf');
      const env = environment({ CI: 'true' });
      await promisify(execFile)(process.execPath, [cli, 'synth', '--output', output], {
        cwd: ROOT,
        env,
      });
      const text = readFileSync(join(output, 'stacks', 'chatty', 'cdk.tf.json'), 'utf8');
      const { resource } = JSON.parse(text) as Synthesized;
      expect(Object.keys(resource['aws_instance'] ?? {})).toHaveLength(4);
    });
  });
});
