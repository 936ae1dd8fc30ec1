import { existsSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const PROVIDER = join('registry.terraform.io', 'hashicorp', 'aws', '5.100.0');

/** Where Terraform itself looks, and a folder tf-plugins at home, at the top or one below it. */
function usualMirrors(): string[] {
  const below = existsSync('/') ? readdirSync('/').map((name) => join('/', name)) : [];
  return [
    join(homedir(), '.terraform.d', 'plugins'),
    ...['/usr/local/share', '/usr/share'].map((share) => join(share, 'terraform', 'plugins')),
    ...[homedir(), '/', ...below].map((place) => join(place, 'tf-plugins')),
  ];
}

/** A mirror that holds the AWS provider: `CHATTY_TF_PLUGINS`, or one of the usual places. */
export function providerMirror(): string | undefined {
  const named = process.env['CHATTY_TF_PLUGINS'];
  const places = named === undefined ? usualMirrors() : [named];
  return places.find((place) => existsSync(join(place, PROVIDER)));
}

/**
 * What Terraform has to find in its environment to ask nobody: its configuration, in a new folder.
 * @throws Error where there is no mirror.
 */
export function terraformEnvironment(): Record<string, string> {
  const mirror = providerMirror();
  if (mirror === undefined) throw new Error('there is no mirror with the AWS provider');
  const file = join(mkdtempSync(join(tmpdir(), 'chatty-terraform-')), 'terraform.rc');
  const path = JSON.stringify(mirror);
  writeFileSync(
    file,
    `disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror { path = ${path} }\n}\n`,
  );
  return { TF_CLI_CONFIG_FILE: file, CHECKPOINT_DISABLE: '1' };
}
