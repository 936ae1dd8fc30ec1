import { providerMirror } from '../terraform.ts';
import { run } from '../../support/command.ts';

const PROGRAMS: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  debootstrap: 'debootstrap',
  'systemd-nspawn': 'systemd-container',
  terraform: 'Terraform 1.11',
};

/** What a rehearsal lacks here, in words; empty where nothing. */
export async function lacking(): Promise<string[]> {
  if (process.platform !== 'linux') return ['Linux'];
  const found = await Promise.all(
    Object.entries(PROGRAMS).map(async ([program, origin]) => {
      const { code } = await run('sh', ['-c', `command -v ${program}`]);
      return code === 0 ? [] : [`the command ${program} (${origin})`];
    }),
  );
  return [
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...found.flat(),
    ...(providerMirror() === undefined
      ? ['a filesystem mirror of the AWS provider 5.100.0 (CHATTY_TF_PLUGINS names it)']
      : []),
  ];
}
