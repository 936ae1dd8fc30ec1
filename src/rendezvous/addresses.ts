import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { type Address, canonicalIp, formatAddress } from '../base/address.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';

/**
 * Puts IP addresses in the place of host names: what goes over the wire, or is listened on, is an IP
 * address. A name with several addresses counts for all of them.
 * @throws ChattyError CHATTY_CONFIG for a name without address.
 */
export async function resolveAll(addresses: readonly Address[]): Promise<Address[]> {
  const resolved = await Promise.all(addresses.map(resolve));
  return resolved.flat();
}

async function resolve({ host, port }: Address): Promise<Address[]> {
  if (isIP(host) !== 0) return [{ host: canonicalIp(host), port }];
  try {
    const found = await lookup(host, { all: true });
    const hosts = new Set(found.map(({ address }) => canonicalIp(address)));
    return [...hosts].map((ip) => ({ host: ip, port }));
  } catch (error) {
    throw new ChattyError(
      'CHATTY_CONFIG',
      `${formatAddress({ host, port })}: the name ${host} has no address (${reasonOf(error)})`,
      { hint: 'Write an IP address, or a name that this computer can resolve.', cause: error },
    );
  }
}

/** What others are told: `wanted`, or else `bound`; port 0 stands for the port listened on. */
export function advertised(wanted: readonly Address[], bound: readonly Address[]): Address[] {
  if (wanted.length === 0) return [...bound];
  const port = bound[0]?.port ?? 0;
  return wanted.map((address) => (address.port === 0 ? { ...address, port } : address));
}
