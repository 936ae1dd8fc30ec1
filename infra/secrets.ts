import { SsmParameter } from '@cdktf/provider-aws/lib/ssm-parameter/index.js';
import { Fn, TerraformLocal } from 'cdktf';
import { Construct } from 'constructs';
import { needing, PreparedFile } from './prepared.ts';
import { type Role, ROLES } from './role.ts';

const CA_FILE = 'ca.pem';
/** What `chatty` knows the authority by. */
const PIN_FILE = 'ca.pin';
const certificateFile = (role: Role): string => `${role}.pem`;
const keyFile = (role: Role): string => `${role}-key.pem`;

/** The files a host of a role needs, by their names in the folder of keys and in the store. */
function filesOf(role: Role): readonly string[] {
  return [CA_FILE, certificateFile(role), keyFile(role)];
}

export interface SecretsOptions {
  readonly name: string;
  /** The folder of the cluster's keys. */
  readonly pki: string;
}

/**
 * The cluster's certificates and keys, where only the hosts of a role can read that role's. They are
 * write-only arguments: neither the stack nor Terraform's state ever holds one. The authority's own
 * key stays where it was made.
 */
export class Secrets extends Construct {
  /** Stands before the file's name in each parameter's. */
  readonly path: string;
  /** The certificate of the cluster's authority, PEM. */
  readonly caPem: string;
  /** The pin of the authority, as `chatty` takes it. */
  readonly caPin: string;
  /** Changes with the certificates that hosts of a role use. */
  readonly versions: Readonly<Record<Role, string>>;
  readonly #parameters = new Map<string, SsmParameter>();

  constructor(scope: Construct, id: string, { name, pki }: SecretsOptions) {
    super(scope, id);
    const file = PreparedFile.in(this, 'pki', pki);
    const version = (role: Role): string => {
      const certificates = [CA_FILE, certificateFile(role)].map((pem) => file(pem).content);
      const hash = Fn.sha256(Fn.join('', certificates));
      return new TerraformLocal(this, `${role}-version`, Fn.substr(hash, 0, 8)).asString;
    };
    this.path = `/${name}/tls`;
    this.caPem = file(CA_FILE).content;
    this.caPin = new TerraformLocal(this, 'pin', Fn.trimspace(file(PIN_FILE).content)).asString;
    this.versions = { loadbalancer: version('loadbalancer'), rendezvous: version('rendezvous') };
    for (const pem of new Set(ROLES.flatMap(filesOf))) {
      const needed = pem === CA_FILE ? [file(pem), file(PIN_FILE)] : [file(pem)];
      const parameter = new SsmParameter(this, pem.replace('.pem', ''), {
        name: `${this.path}/${pem}`,
        type: 'SecureString',
        valueWo: Fn.sensitive(file(pem).content) as string,
        valueWoVersion: file(pem).version,
        lifecycle: needing('The cluster’s keys are', needed),
      });
      this.#parameters.set(pem, parameter);
    }
  }

  /** What a role's hosts read. */
  parametersOf(role: Role): readonly SsmParameter[] {
    return filesOf(role).flatMap((file) => this.#parameters.get(file) ?? []);
  }
}
