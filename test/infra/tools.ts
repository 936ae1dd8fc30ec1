import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { describe, it } from 'vitest';
import { providerMirror } from './terraform.ts';

/** What a check may need of the computer it runs on, and whether it is there. */
const TOOLS = {
  terraform: () => runs('terraform', 'version'),
  'the AWS provider 5.100.0 (CHATTY_TF_PLUGINS names a mirror)': () =>
    providerMirror() !== undefined,
  'cloud-init': () => runs('cloud-init', '--version'),
  shellcheck: () => runs('shellcheck', '--version'),
  'systemd-analyze': () => runs('systemd-analyze', '--version'),
} as const;
type Tool = keyof typeof TOOLS;

export const TERRAFORM: readonly Tool[] = [
  'terraform',
  'the AWS provider 5.100.0 (CHATTY_TF_PLUGINS names a mirror)',
];

/** Checks that need tools: skipped aloud where one is missing, but for CI, where that is a failure. */
export function describeWith(tools: readonly Tool[], name: string, checks: () => void): void {
  const missing = tools.filter((tool) => !TOOLS[tool]());
  if (missing.length === 0) {
    describe(name, checks);
    return;
  }
  const reason = `${name}: needs ${missing.join(' and ')}`;
  if (process.env['CI'] === 'true') {
    it(name, () => {
      throw new Error(reason);
    });
  } else {
    process.stderr.write(`\nNOT CHECKED: ${reason}\n\n`);
    describe.skip(name, checks);
  }
}

function runs(command: string, argument: string): boolean {
  try {
    execFileSync(command, [argument], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
