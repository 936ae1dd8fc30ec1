import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { providerMirror } from '../terraform.ts';
import { must, run } from '../../support/command.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Most of what Terraform does here is to wait. */
const PARALLELISM = '30';

export type Outputs = {
  load_balancers: string[];
  peer_command: string;
  rendezvous_servers: string[];
};

/** Whoever deploys the cluster, from the root of the project, with nothing but the documented commands. */
export class Operator {
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;

  /** `folder` keeps the state, the synthesized stack and the keys; `endpoint` is AWS. */
  constructor(folder: string, endpoint: string) {
    this.#folder = folder;
    this.#env = {
      ...process.env,
      CHECKPOINT_DISABLE: '1',
      TF_CLI_CONFIG_FILE: join(folder, 'terraform.rc'),
      TF_IN_AUTOMATION: '1',
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: 'AKIAREHEARSAL',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: join(folder, 'none'),
      AWS_SHARED_CREDENTIALS_FILE: join(folder, 'none'),
      CDKTF_OUTDIR: join(folder, 'cdktf.out'),
      CHATTY_INFRA_STATE: join(folder, 'terraform.tfstate'),
      CHATTY_INFRA_PKI: join(folder, 'pki'),
      NO_COLOR: '1',
      FORCE_COLOR: '0',
    };
  }

  /** `npm run deploy:prepare`; needs a package registry. */
  async prepare(artifact: string): Promise<void> {
    await writeFile(
      join(this.#folder, 'terraform.rc'),
      `disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = "${providerMirror() ?? ''}"\n  }\n}\n`,
    );
    await this.#command('npm', ['run', '--silent', 'deploy:prepare'], artifact);
  }

  /** `npx cdktf deploy`. */
  deployByCdktf(artifact: string): Promise<string> {
    const args = ['--auto-approve', '--skip-provider-lock', '--terraform-parallelism', PARALLELISM];
    return this.#command(
      'npx',
      ['--no-install', 'cdktf', 'deploy', ...args, ...this.#output],
      artifact,
    );
  }

  /** `npx cdktf destroy`. */
  destroyByCdktf(artifact: string): Promise<string> {
    const args = ['--auto-approve', '--skip-provider-lock', '--terraform-parallelism', PARALLELISM];
    return this.#command(
      'npx',
      ['--no-install', 'cdktf', 'destroy', ...args, ...this.#output],
      artifact,
    );
  }

  /** The way without the CLI: synthesize, then `terraform apply`. */
  async apply(artifact: string): Promise<string> {
    await this.#synthesize(artifact);
    return this.#terraform(
      ['apply', '-auto-approve', '-no-color', `-parallelism=${PARALLELISM}`],
      artifact,
    );
  }

  async destroy(artifact: string): Promise<string> {
    return this.#terraform(
      ['destroy', '-auto-approve', '-no-color', `-parallelism=${PARALLELISM}`],
      artifact,
    );
  }

  /** What a plan would change now, in a line a resource: empty where nothing. */
  async plan(artifact: string): Promise<string> {
    const args = [this.#chdir, 'plan', '-detailed-exitcode', '-no-color', '-input=false'];
    const { code, stdout, stderr } = await run('terraform', args, this.#options(artifact));
    if (code === 0) return '';
    if (code !== 2) return `the plan failed:\n${stdout}${stderr}`;
    return stdout
      .split('\n')
      .filter((line) => /^ {2}# |forces replacement|^Plan:/.test(line))
      .join('\n');
  }

  async outputs(): Promise<Outputs> {
    const text = await must('terraform', [this.#chdir, 'output', '-json'], this.#options(''));
    const all = JSON.parse(text) as Record<string, { value: unknown }>;
    return Object.fromEntries(
      Object.entries(all).map(([name, { value }]) => [name, value]),
    ) as Outputs;
  }

  /** How many resources stand in the state. */
  async resources(): Promise<number> {
    const list = await must('terraform', [this.#chdir, 'state', 'list'], this.#options(''));
    return list
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('data.')).length;
  }

  /** Where a private key stands that ought to be nowhere but in the folder of the keys. */
  async leaks(): Promise<string[]> {
    const files = ['terraform.tfstate', 'cdktf.out/stacks/chatty/cdk.tf.json'];
    const texts = await Promise.all(
      files.map((file) => readFile(join(this.#folder, file), 'utf8')),
    );
    return files.filter((_, index) => texts[index]?.includes('PRIVATE KEY'));
  }

  async #synthesize(artifact: string): Promise<void> {
    await this.#command('npx', ['--no-install', 'tsx', 'infra/main.ts'], artifact);
    await this.#terraform(['init', '-input=false', '-no-color'], artifact);
  }

  get #chdir(): string {
    return `-chdir=${join(this.#folder, 'cdktf.out/stacks/chatty')}`;
  }

  get #output(): string[] {
    return ['--output', join(this.#folder, 'cdktf.out')];
  }

  #terraform(args: readonly string[], artifact: string): Promise<string> {
    return this.#command('terraform', [this.#chdir, ...args], artifact);
  }

  #command(command: string, args: readonly string[], artifact: string): Promise<string> {
    return must(command, args, this.#options(artifact));
  }

  #options(artifact: string): { cwd: string; env: NodeJS.ProcessEnv } {
    return { cwd: ROOT, env: { ...this.#env, CHATTY_INFRA_ARTIFACT: artifact } };
  }
}
