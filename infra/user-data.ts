import { readFileSync } from 'node:fs';
import { DefaultPort } from '../src/base/default-ports.ts';
import type { Role } from './role.ts';
import { MAX_PROCESSES } from './settings.ts';

export interface HostConfiguration {
  readonly role: Role;
  readonly region: string;
  /** The bucket, and the SHA-256 in hexadecimal under which it holds the tarball. */
  readonly artifact: { readonly bucket: string; readonly sha256: string };
  /** Where the keys are in the parameter store, and what changes with them. */
  readonly keys: { readonly path: string; readonly version: string };
  /** The address peers are told; absent: the one the host was given. */
  readonly address?: string | undefined;
  /** The peers' ports. */
  readonly ports: readonly number[];
  /** Servers: where balancers are, and how many processes to run. */
  readonly servers?: { readonly loadBalancer: string; readonly processes: number | 'auto' };
}

/** What a host may do beyond what everybody may. */
const CAPABILITIES: Readonly<Record<Role, string>> = {
  loadbalancer: '',
  // Port 443.
  rendezvous: 'CAP_NET_BIND_SERVICE',
};

/**
 * The cloud-config that makes a bare Amazon Linux a host of the cluster. It holds no secret, and
 * changes whenever the host is to be replaced. Values may be references that Terraform fills in.
 */
export function userData(configuration: HostConfiguration): string {
  const { role } = configuration;
  const values = {
    ROLE: role,
    CAPABILITIES: CAPABILITIES[role],
    CLUSTER_PORT: String(DefaultPort.cluster),
    OPERATIONS_PORT: String(DefaultPort.operations),
    MAX_PROCESSES: String(MAX_PROCESSES),
  };
  const own = (file: string): string => escaped(hostFile(file, values));
  const files: readonly WrittenFile[] = [
    { path: '/etc/chatty/host', content: hostSettings(configuration) },
    { path: '/etc/sysctl.d/60-chatty.conf', content: own('sysctl.conf') },
    { path: '/etc/systemd/system/chatty.service', content: own('chatty.service') },
    { path: '/usr/local/sbin/chatty-ready', content: own(`ready-${role}.sh`) },
    { path: '/usr/local/sbin/chatty-install', content: own('install.sh') },
  ];
  return [
    '#cloud-config',
    'write_files:',
    ...files.map(writeFile),
    'runcmd:',
    '- /usr/local/sbin/chatty-install',
    '',
  ].join('\n');
}

interface WrittenFile {
  readonly path: string;
  readonly content: string;
}

function writeFile({ path, content }: WrittenFile): string {
  const mode = path.includes('sbin/') ? ["  permissions: '0755'"] : [];
  const lines = content.trimEnd().split('\n');
  return [`- path: ${path}`, ...mode, '  content: |', ...lines.map((line) => `   ${line}`)].join(
    '\n',
  );
}

/** What differs from host to host: read by the scripts, and by systemd for what is `CHATTY_…`. */
function hostSettings({
  role,
  region,
  artifact,
  keys,
  address,
  ports,
  servers,
}: HostConfiguration) {
  return [
    `ROLE=${role}`,
    `REGION=${region}`,
    `BUCKET=${artifact.bucket}`,
    `SHA256=${artifact.sha256}`,
    `KEYS=${keys.path}`,
    // Nobody reads it: new keys make a new host.
    `KEYS_ID=${keys.version}`,
    `ADDRESS=${address ?? ''}`,
    `PORTS="${ports.join(' ')}"`,
    `CHATTY_CLUSTER_LISTEN=0.0.0.0:${DefaultPort.cluster}`,
    ...(servers === undefined
      ? []
      : [`PROCESSES=${servers.processes}`, `CHATTY_LOADBALANCER=${servers.loadBalancer}`]),
  ].join('\n');
}

/** A file of the folder host, filled in, and without its comments: user data has to be short. */
function hostFile(name: string, values: Readonly<Record<string, string>>): string {
  const text = readFileSync(new URL(`./host/${name}`, import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '' && !/^\s*#(?!!)/.test(line))
    .join('\n')
    .replace(/@([A-Z_]{2,})@/g, (_, key: string) => values[key] ?? '');
}

/** Text in which Terraform finds nothing to fill in. */
function escaped(text: string): string {
  return text.split('${').join('$${').split('%{').join('%%{');
}
