import { execFile } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { filesBelow } from './file-tree.ts';
import { projectSettings, ROOT } from './project.ts';
import { tarball } from './tarball.ts';

// `npm run deploy:prepare`: the cluster's keys, where there are none yet, and what its hosts run.

const run = promisify(execFile);
/** What hosts have: Linux, x86-64, glibc. */
const PLATFORM = ['--os=linux', '--cpu=x64', '--libc=glibc'];
/** What no host reads. */
const LEFT_OUT = /(^package-lock\.json|\/\.package-lock\.json|\.map|\.d\.[cm]?ts|\.md)$/;

const { pki, artifact } = projectSettings();
const stage = await mkdtemp(join(tmpdir(), 'chatty-prepare-'));
try {
  await assemble();
  await makeKeys();
  const files = await filesBelow(stage, (path) => !LEFT_OUT.test(path));
  const bytes = tarball(files);
  await mkdir(dirname(artifact), { recursive: true });
  // Whole or not at all: Terraform may be reading it.
  await writeFile(`${artifact}.new`, bytes);
  await rename(`${artifact}.new`, artifact);
  const hash = createHash('sha256').update(bytes).digest('hex');
  say(`The artifact is ${artifact} (${(bytes.length / 2 ** 20).toFixed(1)} MB, sha256 ${hash})`);
  say('Now: npx cdktf deploy');
} finally {
  await rm(stage, { recursive: true });
}

/** Puts together what a host runs: the programs, built anew, and what they need of others. */
async function assemble(): Promise<void> {
  for (const name of ['package.json', 'package-lock.json', 'LICENSE', 'bin']) {
    await cp(join(ROOT, name), join(stage, name), { recursive: true });
  }
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  await runNode([compiler, '-p', 'tsconfig.build.json', '--outDir', join(stage, 'dist')], ROOT);
  const install = ['ci', '--omit=dev', '--ignore-scripts', '--prefer-offline', ...PLATFORM];
  const npm = process.env['npm_execpath'];
  if (npm === undefined) await run('npm', install, { cwd: stage });
  else await runNode([npm, ...install], stage);
  // Only what programs look at: a change of what is for builders makes no new artifact.
  const file = join(stage, 'package.json');
  const { name, version, type } = JSON.parse(await readFile(file, 'utf8')) as Record<
    string,
    string
  >;
  await writeFile(file, `${JSON.stringify({ name, version, type }, null, 2)}\n`);
}

/** Makes the cluster's keys, unless it has some: another authority would be another cluster. */
async function makeKeys(): Promise<void> {
  const authority = join(pki, 'ca.pem');
  if (existsSync(authority)) {
    say(`The cluster's keys are in ${pki}, as before`);
  } else {
    await mkdir(dirname(pki), { recursive: true });
    await runNode([join(stage, 'bin', 'chatty-local'), 'pki', pki], stage);
    say(`The cluster's keys are in ${pki}: keep a copy of ca-key.pem where nobody else comes`);
  }
  const { publicKey } = new X509Certificate(await readFile(authority));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const pin = `sha256-${createHash('sha256').update(spki).digest('base64url')}`;
  await writeFile(join(pki, 'ca.pin'), `${pin}\n`);
}

async function runNode(args: readonly string[], cwd: string): Promise<void> {
  try {
    await run(process.execPath, args, { cwd });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${args.join(' ')} failed:\n${stdout ?? ''}${stderr ?? ''}`, { cause: error });
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
