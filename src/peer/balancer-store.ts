import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Address, formatAddress, scopeOf } from '../base/address.ts';
import {
  certificateFingerprint,
  compareBytes,
  formatFingerprint,
  parseFingerprint,
} from '../base/identity.ts';
import { type BalancerAddress, parseBalancerAddress } from '../base/balancer-address.ts';
import { authoritiesOf } from '../rpc/balancer-trust.ts';
import { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import {
  createStateFile,
  fileNameFor,
  readStateFile,
  replaceStateFile,
  stateFileError,
} from './state-file.ts';

/** Servers and balancers kept of one cluster. */
const MAX_SERVERS = 16;
const MAX_BALANCERS = 16;

/** What is known of a cluster from last time. */
export interface StoredCluster {
  /** SHA-256 of the public key of its CA. */
  readonly pin: Uint8Array;
  /** The cluster's CA, PEM. */
  readonly caPem: string;
  readonly balancers: readonly BalancerAddress[];
  /** Servers that worked, the best first. */
  readonly servers: readonly Server[];
}

/** Whether a balancer's address is this computer's own: such are never stored. */
export function isLoopback({ host }: Pick<Address, 'host'>): boolean {
  return scopeOf(host) === 'loopback' || /^(.*\.)?localhost\.?$/i.test(host);
}

/**
 * What a state directory knows of load balancers, for everybody who uses it: each balancer's CA by
 * first use, in a file of its own that is written once; and each cluster's servers and further
 * balancers, which are only a cache.
 */
export class BalancerStore {
  readonly #directory: string;

  constructor(stateDirectory: string) {
    this.#directory = stateDirectory;
  }

  /** The balancers whose CA is kept: those the user has named before. */
  async known(): Promise<BalancerAddress[]> {
    const directory = join(this.#directory, 'balancers');
    const names = await readdir(directory).catch(() => []);
    const places = await Promise.all(
      names.slice(0, MAX_BALANCERS).map((name) => readStateFile(join(directory, name))),
    );
    return places
      .map((text) => parseBalancerAddress(text?.split(' ', 1)[0] ?? ''))
      .filter((address) => address !== undefined);
  }

  /** SHA-256 of the public key of the CA that was accepted for a balancer. @throws CHATTY_KEY_FILE */
  async pinOf(address: BalancerAddress): Promise<Uint8Array | undefined> {
    const path = this.#pinPath(address);
    const text = await readStateFile(path);
    if (text === undefined) return undefined;
    const pin = parseFingerprint(text.trim().split(' ').at(-1) ?? '');
    if (pin === undefined) {
      const hint = "Delete it: the balancer's CA is then accepted on first use again.";
      throw stateFileError(path, "it does not hold a balancer's pin", hint);
    }
    return pin;
  }

  /**
   * Keeps the CA of a balancer. A pin there already stays, unless `verified` says that the user
   * named this one.
   */
  async keepPin(address: BalancerAddress, pin: Uint8Array, verified: boolean): Promise<void> {
    if (isLoopback(address)) return;
    const path = this.#pinPath(address);
    const text = `${formatAddress(address)} ${formatFingerprint(pin)}\n`;
    if (!verified) await createStateFile(path, text);
    else if ((await readStateFile(path)) !== text) await replaceStateFile(path, text);
  }

  /** What is known of a cluster by its CA. A file that cannot be read is as good as none. */
  async cluster(pin: Uint8Array): Promise<StoredCluster | undefined> {
    try {
      const text = await readStateFile(this.#clusterPath(pin));
      return text === undefined ? undefined : parseCluster(text, pin);
    } catch {
      return undefined;
    }
  }

  async keepCluster(cluster: StoredCluster): Promise<void> {
    const file = {
      version: 1,
      ca: cluster.caPem,
      balancers: cluster.balancers
        .filter((address) => !isLoopback(address))
        .slice(0, MAX_BALANCERS)
        .map(formatAddress),
      servers: cluster.servers
        .slice(0, MAX_SERVERS)
        .map((server) => Buffer.from(Server.encode(server).finish()).toString('base64')),
    };
    const path = this.#clusterPath(cluster.pin);
    const text = `${JSON.stringify(file, undefined, 2)}\n`;
    if ((await readStateFile(path)) !== text) await replaceStateFile(path, text);
  }

  #pinPath(address: BalancerAddress): string {
    return join(this.#directory, 'balancers', fileNameFor(formatAddress(address).toLowerCase()));
  }

  #clusterPath(pin: Uint8Array): string {
    return join(this.#directory, 'clusters', `${Buffer.from(pin).toString('hex')}.json`);
  }
}

/** @throws on anything that is no such file. */
function parseCluster(text: string, pin: Uint8Array): StoredCluster | undefined {
  const file = JSON.parse(text) as Record<string, unknown>;
  const caPem = String(file['ca']);
  const [authority] = authoritiesOf(caPem);
  if (compareBytes(certificateFingerprint(authority), pin) !== 0) return undefined;
  return {
    pin,
    caPem,
    balancers: strings(file['balancers'])
      .map(parseBalancerAddress)
      .filter((address) => address !== undefined),
    servers: strings(file['servers']).map((server) => Server.decode(Buffer.from(server, 'base64'))),
  };
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
