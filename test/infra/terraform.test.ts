import { spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Testing } from 'cdktf';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeClusterPki } from '../../src/rpc/cluster-pki.ts';
import { planted, resources, synthesizeFolder, type Synthesized } from './synthesized.ts';
import { terraformEnvironment } from './terraform.ts';
import { describeWith, TERRAFORM } from './tools.ts';

/** AWS as far as a plan asks it; the rest Terraform makes up. */
const MOCKED_AWS = `
mock_provider "aws" {
  mock_data "aws_availability_zones" { defaults = { names = ["us-east-1a", "us-east-1b"] } }
  mock_resource "aws_vpc" { defaults = { ipv6_cidr_block = "2600:1f18:0:100::/56" } }
  mock_resource "aws_eip" { defaults = { public_ip = "203.0.113.7" } }
}
`;
const APPLY_TWICE = `${MOCKED_AWS}
run "deploy" {}
run "again" { command = plan }
`;
const PLAN = `${MOCKED_AWS}
run "plan" { command = plan }
`;

/** What `terraform test -json -verbose` says, a line each. */
interface Said {
  readonly type: string;
  readonly test_state?: { readonly outputs: Record<string, { readonly value: unknown }> };
  readonly test_plan?: {
    readonly resource_changes?: readonly {
      readonly address: string;
      readonly change: { readonly actions: readonly string[] };
    }[];
  };
}

describeWith(TERRAFORM, 'Terraform', () => {
  let root: string;
  let folder: string;
  let stack: string;
  let environment: NodeJS.ProcessEnv;
  const pki = (): string => join(root, 'data', 'chatty', 'clusters', 'chatty');

  beforeAll(async () => {
    Object.assign(process.env, terraformEnvironment());
    environment = { ...process.env };
    // No credentials, whatever whoever runs this has.
    for (const name of Object.keys(environment)) {
      if (name.startsWith('AWS_')) Reflect.deleteProperty(environment, name);
    }
    root = mkdtempSync(join(tmpdir(), 'chatty-infra-'));
    await writeClusterPki(pki());
    writeFileSync(join(pki(), 'ca.pin'), `${pin()}\n`);
    cpSync(new URL('./terraform.test.ts', import.meta.url), join(root, '.deploy', 'chatty.tar.gz'));
    folder = synthesizeFolder({}, root);
    stack = join(folder, 'stacks', 'chatty');
  });
  afterAll(() => {
    for (const path of [root, folder]) rmSync(path, { recursive: true, force: true });
  });

  function pin(): string {
    const { publicKey } = new X509Certificate(readFileSync(join(pki(), 'ca.pem')));
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    return `sha256-${createHash('sha256').update(spki).digest('base64url')}`;
  }

  /** Runs it in a folder like the stack's, changed. */
  function terraform(change: (whole: Synthesized) => unknown, args: string[], test = '') {
    const changed = mkdtempSync(join(root, 'changed-'));
    cpSync(stack, changed, { recursive: true });
    const file = join(changed, 'cdk.tf.json');
    const whole = JSON.parse(readFileSync(file, 'utf8')) as Synthesized;
    writeFileSync(file, JSON.stringify(planted(whole, change)));
    writeFileSync(join(changed, 'chatty.tftest.hcl'), test);
    const ran = spawnSync('terraform', args, {
      ...{ cwd: changed, env: environment, encoding: 'utf8', maxBuffer: 2 ** 28 },
    });
    return { status: ran.status, said: ran.stdout + ran.stderr };
  }

  const TEST = ['test', '-json', '-verbose'];
  const asIs = (): undefined => undefined;

  /** What no state and no plan may hold: the middle of every key. */
  const secrets = (): string[] =>
    ['loadbalancer-key.pem', 'rendezvous-key.pem', 'ca-key.pem'].map(
      (file) => readFileSync(join(pki(), file), 'utf8').split('\n')[1] as string,
    );

  it('finds the stack valid', { timeout: 120_000 }, () => {
    expect(Testing.toBeValidTerraform(folder)).toBe(true);
  });

  it('finds out a shell variable that it would fill in itself', { timeout: 120_000 }, () => {
    const { status, said } = terraform(
      (whole) => {
        const host = resources(whole, 'aws_instance')[0]?.[1] as { user_data: string };
        host.user_data = host.user_data.replaceAll('$${', '${');
      },
      ['validate', '-no-color'],
    );
    expect(status).not.toBe(0);
    expect(said).toContain('listen#');
  });

  it(
    'deploys without credentials, has nothing to do again, and keeps no key',
    { timeout: 180_000 },
    () => {
      const { status, said } = terraform(asIs, TEST, APPLY_TWICE);
      expect([status, status === 0 || said.slice(-2_000)]).toEqual([0, true]);
      for (const secret of secrets()) expect(said.includes(secret)).toBe(false);

      const lines = said.split('\n').filter((line) => /^\{.*"test_(state|plan)"/.test(line));
      const [state, plan] = lines.map((line) => JSON.parse(line) as Said);
      const outputs = state?.test_state?.outputs ?? {};
      const place = '203.0.113.7:50050';
      expect(outputs['load_balancers']?.value).toEqual([place, place]);
      expect(outputs['peer_command']?.value).toBe(
        `bin/chatty alice bob --lb '${place}#${pin()}' --lb '${place}#${pin()}'`,
      );
      expect(outputs['cluster_ca_pem']?.value).toBe(readFileSync(join(pki(), 'ca.pem'), 'utf8'));
      const changes = (plan?.test_plan?.resource_changes ?? []).map(
        ({ address, change }) => `${change.actions.join()} ${address}`,
      );
      expect(changes.filter((change) => !/^(no-op|read) /.test(change))).toEqual([]);
    },
  );

  it('is found out where a key gets into its state', { timeout: 180_000 }, () => {
    const { said } = terraform(
      (whole) => {
        for (const [, parameter] of resources(whole, 'aws_ssm_parameter')) {
          parameter['value'] = String(parameter['value_wo']).replace(/sensitive\((.*)\)/, '$1');
          delete parameter['value_wo'];
          delete parameter['value_wo_version'];
        }
      },
      TEST,
      `${MOCKED_AWS}\nrun "deploy" {}\n`,
    );
    expect(secrets().map((secret) => said.includes(secret))).toEqual([true, true, false]);
  });

  it(
    'refuses to plan without keys or artifact, and says what makes them',
    { timeout: 120_000 },
    () => {
      const nowhere = join(root, 'nowhere');
      const { status, said } = terraform(
        (whole) => {
          const { locals } = whole as unknown as { locals: Record<string, string> };
          locals['artifact-path'] = join(nowhere, 'chatty.tar.gz');
          locals['secrets-pki'] = nowhere;
        },
        ['test', '-no-color'],
        PLAN,
      );
      expect(status).not.toBe(0);
      const words = said.replace(/\s+/g, ' ');
      expect(words).toContain(
        `The artifact is missing: there is no file ${nowhere}/chatty.tar.gz.`,
      );
      expect(words).toContain(`there is no file ${nowhere}/rendezvous-key.pem.`);
      expect(said).toContain('npm run deploy:prepare');
    },
  );
});
