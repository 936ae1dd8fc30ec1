import { type Address, familyOf, sameAddress, scopeOf } from '../base/address.ts';
import { isSafeTarget } from '../path/index.ts';
import type { QuicEndpoint } from '../quic/index.ts';
import type { RelayOffer } from './match.ts';
import type { RelayRoute } from './relay-client.ts';
import type { Tunnel } from './tunnel.ts';

/** How a server is reached that this peer is registered with. */
interface KnownServer {
  readonly remote: Address | undefined;
  readonly tunnel: Tunnel | undefined;
}

/** Of one server, so many addresses are tried. */
const MAX_ROUTES = 4;

/** What decides how a relaying server is reached. */
interface Surroundings {
  readonly endpoint: QuicEndpoint;
  /** The registration with that server, where there is one. */
  readonly server: KnownServer | undefined;
  /** Whether nothing but tunnels leads to servers. */
  readonly udpBlocked: boolean;
  /** Whether servers on loopback are ours. */
  readonly onLoopback: boolean;
}

/**
 * The ways to a relaying server, best first: the one a registration there has found, then its other
 * addresses. Where nothing but tunnels works, only that of the registration.
 */
export function relayRoutes(
  offer: RelayOffer,
  { endpoint, server, udpBlocked, onLoopback }: Surroundings,
): readonly RelayRoute[] {
  if (server?.tunnel !== undefined) return [tunnelRoute(server.tunnel)];
  if (udpBlocked) return [];
  const families = new Set(endpoint.addresses.map(familyOf));
  const own = server?.remote;
  const others = offer.addresses.filter(
    (address) =>
      families.has(familyOf(address)) &&
      isSafeTarget(address) &&
      (onLoopback || scopeOf(address.host) !== 'loopback') &&
      (own === undefined || !sameAddress(address, own)),
  );
  const first = own === undefined ? [] : [own];
  return [...first, ...others].slice(0, MAX_ROUTES).map((address) => ({
    address,
    send: (datagram) => endpoint.send(datagram, address),
  }));
}

function tunnelRoute(tunnel: Tunnel): RelayRoute {
  return {
    address: tunnel.remote,
    tunnel,
    send: (datagram) => tunnel.send(datagram),
  };
}
