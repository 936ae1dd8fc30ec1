import { type Address, familyOf, sameAddress, scopeOf } from '../base/address.ts';
import { isSafeTarget } from '../path/index.ts';
import type { QuicEndpoint } from '../quic/index.ts';
import type { RelayOffer } from './match.ts';
import type { RelayRoute } from './relay-client.ts';
import type { Tunnel } from './tunnel.ts';

/** How a server is reached that this peer is registered with. */
export interface KnownServer {
  readonly remote: Address | undefined;
  readonly tunnel: Tunnel | undefined;
}

/** Of one server, so many addresses are tried. */
const MAX_ROUTES = 4;

/**
 * The ways to a relaying server, best first: the one a registration there has found, then its other
 * addresses. Where nothing but tunnels works, only those that stand.
 * @param known by server's id.
 * @param onLoopback whether servers on loopback are ours.
 */
export function relayRoutes(
  offer: RelayOffer,
  endpoint: QuicEndpoint,
  known: ReadonlyMap<string, KnownServer>,
  onLoopback: boolean,
): readonly RelayRoute[] {
  const own = known.get(offer.serverId);
  if (own?.tunnel !== undefined) return [tunnelRoute(own.tunnel)];
  const all = [...known.values()].filter(({ remote }) => remote !== undefined);
  if (all.length > 0 && all.every(({ tunnel }) => tunnel !== undefined)) return [];
  const families = new Set(endpoint.addresses.map(familyOf));
  const others = offer.addresses.filter(
    (address) =>
      families.has(familyOf(address)) &&
      isSafeTarget(address) &&
      (onLoopback || scopeOf(address.host) !== 'loopback') &&
      (own?.remote === undefined || !sameAddress(address, own.remote)),
  );
  const first = own?.remote === undefined ? [] : [own.remote];
  return [...first, ...others].slice(0, MAX_ROUTES).map((address) => ({
    address,
    tunnelled: false,
    send: (datagram) => endpoint.send(datagram, address),
  }));
}

function tunnelRoute(tunnel: Tunnel): RelayRoute {
  return {
    address: tunnel.remote,
    tunnelled: true,
    tunnel,
    send: (datagram) => tunnel.send(datagram),
  };
}
