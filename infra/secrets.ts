import { SsmParameter } from '@cdktf/provider-aws/lib/ssm-parameter/index.js';
import { Fn } from 'cdktf';
import { Construct } from 'constructs';
import { PreparedFile } from './prepared.ts';
import { type Role, ROLES } from './role.ts';

const CA_FILE = 'ca.pem';
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
  readonly #parameters = new Map<string, SsmParameter>();
  readonly #file: (name: string) => PreparedFile;

  constructor(scope: Construct, id: string, { name, pki }: SecretsOptions) {
    super(scope, id);
    this.#file = PreparedFile.in(this, 'pki', pki);
    this.path = `/${name}/tls`;
    this.caPem = this.#file(CA_FILE).content;
    this.caPin = Fn.trimspace(this.#file('ca.pin').content);
    for (const file of new Set(ROLES.flatMap(filesOf))) {
      const parameter = new SsmParameter(this, file.replace('.pem', ''), {
        name: `${this.path}/${file}`,
        type: 'SecureString',
        valueWo: Fn.sensitive(this.#file(file).content) as string,
        valueWoVersion: this.#file(file).version,
        lifecycle: this.#file(file).needed('A key of the cluster'),
      });
      this.#parameters.set(file, parameter);
    }
  }

  /** What a role's hosts read. */
  parametersOf(role: Role): readonly SsmParameter[] {
    return filesOf(role).flatMap((file) => this.#parameters.get(file) ?? []);
  }

  /** Changes with the certificates that hosts of a role use. */
  versionOf(role: Role): string {
    const certificates = [this.caPem, this.#file(certificateFile(role)).content];
    return Fn.substr(Fn.sha256(Fn.join('', certificates)), 0, 8);
  }
}
