import {
  anInstanceType,
  aFile,
  aName,
  aNetwork,
  aNumber,
  aRegion,
  type Format,
  networks,
  oneOf,
  zones,
} from './setting-formats.ts';

const ENVIRONMENT_PREFIX = 'CHATTY_INFRA_';
const DEFAULT_NAME = 'chatty';
/** As many workers as ports are let in for (firewall.ts). */
export const MAX_PROCESSES = 8;
/**
 * Route 53 answers with eight addresses of a name at most, and while a cluster is replaced the old
 * balancers and the new ones stand behind it together.
 */
const MAX_LOAD_BALANCERS = 4;

/** Where the settings come from. */
export interface SettingSources {
  /** `context.chatty` of cdktf.json. */
  readonly context: unknown;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The folder that relative paths are relative to. */
  readonly root: string;
  /** Where this user's programs keep their data. */
  readonly dataFolder: string;
}

function formats({ root, dataFolder }: SettingSources) {
  return {
    /** Stands before the names of everything the cluster consists of. */
    name: aName(DEFAULT_NAME),
    region: aRegion('us-east-1'),
    /** Availability zones to spread over; none named: the first two of the region. */
    zones: zones([]),
    loadBalancers: aNumber(1, MAX_LOAD_BALANCERS, 2),
    rendezvousServers: aNumber(1, 32, 2),
    loadBalancerInstanceType: anInstanceType('t3.small'),
    rendezvousInstanceType: anInstanceType('t3.small'),
    /** Servers on one host, each on a core of its own. */
    processes: oneOf('auto' as const, aNumber(1, MAX_PROCESSES)),
    /** Who may reach the peers' ports. */
    peerCidrs: networks(['0.0.0.0/0', '::/0']),
    vpcCidr: aNetwork('10.50.0.0/16', 16, 24),
    /** The folder of the cluster's keys, as `chatty-local pki` makes it. Precious. */
    pki: aFile(root, (name) => `${dataFolder}/chatty/clusters/${name}`),
    /** What servers run, as `npm run deploy:prepare` makes it. */
    artifact: aFile(root, () => '.deploy/chatty.tar.gz'),
    /** Terraform's record of what there is, unless `stateBucket` is named. */
    state: aFile(root, (name) => `terraform.${name}.tfstate`),
    /** An S3 bucket of yours that keeps Terraform's record; empty: the file `state` does. */
    stateBucket: oneOf('' as const, aName()),
  };
}

type Formats = ReturnType<typeof formats>;

export type Settings = {
  readonly [Key in keyof Formats]: Formats[Key] extends Format<infer Value> ? Value : never;
};

/** Settings that cannot be used; the message has a line for each, with the key and what is allowed. */
export class SettingsError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The cluster's settings cannot be used:\n${problems.map((p) => `  ${p}`).join('\n')}`);
    this.name = 'SettingsError';
    this.problems = problems;
  }
}

/**
 * Reads the settings: defaults, then `context.chatty` of cdktf.json, then `CHATTY_INFRA_*`.
 * @throws SettingsError
 */
export function readSettings(sources: SettingSources): Settings {
  const known: Readonly<Record<string, Format<unknown>>> = formats(sources);
  const problems: string[] = [];
  const context = contextOf(sources.context, problems);
  const given = new Map<string, { readonly value: unknown; readonly where: string }>();
  for (const [key, value] of Object.entries(context)) {
    given.set(key, { value, where: `${key} (cdktf.json, context.chatty)` });
  }
  for (const [variable, text] of Object.entries(sources.environment)) {
    if (!variable.startsWith(ENVIRONMENT_PREFIX) || text === undefined) continue;
    const key = Object.keys(known).find((candidate) => environmentName(candidate) === variable);
    given.set(key ?? variable, { value: text, where: key ? `${key} (${variable})` : variable });
  }

  for (const [key, { where }] of given) {
    if (Object.hasOwn(known, key)) continue;
    problems.push(`${where}: there is no such setting; there are ${Object.keys(known).join(', ')}`);
  }
  const values: Record<string, unknown> = {};
  for (const [key, format] of Object.entries(known)) {
    const entry = given.get(key);
    // The name comes first: other defaults contain it.
    const name = typeof values['name'] === 'string' ? values['name'] : DEFAULT_NAME;
    values[key] = entry === undefined ? format.default(name) : format.read(entry.value);
    if (values[key] === undefined) {
      problems.push(
        `${entry?.where ?? key}: ${JSON.stringify(entry?.value)} is not ${format.allowed(entry?.value)}`,
      );
    }
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return values as Settings;
}

/** `loadBalancers` is `CHATTY_INFRA_LOAD_BALANCERS`. */
function environmentName(key: string): string {
  return ENVIRONMENT_PREFIX + key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function contextOf(context: unknown, problems: string[]): object {
  if (context === undefined) return {};
  if (typeof context === 'object' && context !== null && !Array.isArray(context)) return context;
  problems.push('context.chatty (cdktf.json): it has to be an object of settings');
  return {};
}
