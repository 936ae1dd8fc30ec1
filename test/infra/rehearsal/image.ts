import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { must } from '../../support/command.ts';

const SUITE = 'bookworm';
const MIRROR = process.env['CHATTY_REHEARSAL_MIRROR'] ?? 'http://deb.debian.org/debian';
/** What Amazon Linux 2023 has and our user data uses, and what boots it. */
const PACKAGES = [
  ...['systemd', 'systemd-sysv', 'dbus', 'cloud-init', 'python3-cffi-backend'],
  ...['iproute2', 'ca-certificates', 'curl', 'procps', 'openssl'],
];
const STAND_INS = new URL('./stand-ins/', import.meta.url);

/**
 * The folder of the image that hosts boot: Debian stands in for Amazon Linux 2023. Made once and
 * kept in a cache folder (`CHATTY_REHEARSAL_CACHE`, default the user's); made anew when what is in
 * it changes.
 */
export async function image(): Promise<{ path: string; isCached: boolean }> {
  const cache =
    process.env['CHATTY_REHEARSAL_CACHE'] ??
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'chatty-rehearsal');
  await mkdir(cache, { recursive: true });
  const key = createHash('sha256')
    .update([SUITE, ...PACKAGES].join(' '))
    .digest('hex')
    .slice(0, 12);
  const path = join(cache, `image-${key}`);
  const isCached = existsSync(path);
  if (!isCached) {
    const draft = await draftIn(cache);
    const args = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, draft, MIRROR];
    await must('debootstrap', args);
    await rename(draft, path);
  }
  await equip(path);
  return { path, isCached };
}

async function draftIn(cache: string): Promise<string> {
  for (const name of await readdir(cache)) {
    const maker = /^draft-(\d+)$/.exec(name)?.[1];
    if (maker !== undefined && !existsSync(`/proc/${maker}`)) {
      await rm(join(cache, name), { recursive: true, force: true });
    }
  }
  return join(cache, `draft-${process.pid}`);
}

/** Puts in what stands in for Amazon Linux, and says where cloud-init is to ask. */
async function equip(path: string): Promise<void> {
  for (const name of ['aws', 'dnf', 'sysctl']) {
    const target = join(path, 'usr/local/bin', name);
    const source = new URL(name, STAND_INS);
    const same = existsSync(target) && (await readFile(target)).equals(await readFile(source));
    if (same) continue;
    await copyFile(source, `${target}.new`);
    await must('chmod', ['755', `${target}.new`]);
    await rename(`${target}.new`, target);
  }
  await writeFile(
    join(path, 'etc/cloud/cloud.cfg.d/99-rehearsal.cfg'),
    [
      'datasource_list: [Ec2]',
      'datasource: {Ec2: {strict_id: false, metadata_urls: ["http://169.254.169.254"]}}',
      'network: {config: disabled}',
      // What our user data needs; the rest is about an image that is to become a computer of its own.
      'cloud_init_modules: [write-files]',
      'cloud_config_modules: [runcmd]',
      'cloud_final_modules: [scripts-user]',
      '',
    ].join('\n'),
  );
}
