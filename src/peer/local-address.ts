import { type Address, familyOf, scopeOf } from '../base/address.ts';

/**
 * The address of ours that packets to `remote` come from, as far as it is known without asking the
 * system's routes.
 * @param bound where our sockets are bound.
 * @param own every address of this computer, with the ports of our sockets.
 */
export function localAddressFor(
  remote: Address,
  bound: readonly Address[],
  own: readonly Address[],
): Address {
  const family = familyOf(remote);
  const isOfFamily = (address: Address): boolean => familyOf(address) === family;
  const socket = bound.find(isOfFamily);
  if (socket === undefined) return { host: family === 4 ? '0.0.0.0' : '::', port: 0 };
  if (scopeOf(socket.host) !== 'unusable') return socket;
  if (scopeOf(remote.host) === 'loopback') {
    return { host: family === 4 ? '127.0.0.1' : '::1', port: socket.port };
  }
  return own.find(isOfFamily) ?? socket;
}
