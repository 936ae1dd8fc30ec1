import { type Address, scopeOf } from '../base/address.ts';
import type { RelayOffer } from '../rpc/generated/chatty/v1/rendezvous.ts';
import { addressToWire } from '../rpc/wire-address.ts';
import type { RecordKey } from './record.ts';
import { pairOf, relayGrants } from './relay-grants.ts';

/** The length of a server's relay secret. */
export const RELAY_SECRET_BYTES = 32;

interface RelayServer {
  readonly secret: Uint8Array;
  readonly addresses: readonly Address[];
}

/** The servers that relay, this one among them, and what peers are offered there. */
export class RelayServers {
  readonly #servers = new Map<string, RelayServer>();
  #located: ReadonlyMap<string, readonly Address[]> = new Map();

  /**
   * A server has said who it is.
   * @param secret of another length than it should be: the server does not relay.
   */
  know(id: string, secret: Uint8Array, addresses: readonly Address[]): void {
    const reachable = addresses.filter(({ host }) => scopeOf(host) !== 'unusable');
    if (secret.length !== RELAY_SECRET_BYTES) return;
    this.#servers.set(id, { secret, addresses: reachable });
  }

  /**
   * Where a load balancer sends peers who are to reach these servers: that is where those are that
   * themselves know only that they listen on every address.
   */
  locate(
    servers: readonly { readonly id: string; readonly peerAddresses: readonly Address[] }[],
  ): void {
    this.#located = new Map(servers.map(({ id, peerAddresses }) => [id, peerAddresses]));
  }

  forget(id: string): void {
    this.#servers.delete(id);
  }

  canRelay(id: string): boolean {
    return this.#servers.has(id);
  }

  /** What `own` is offered to reach `friend` by, at each of the servers named. */
  offers(servers: readonly string[], own: RecordKey, friend: RecordKey): RelayOffer[] {
    const pair = pairOf(own, friend);
    return servers.flatMap((serverId) => {
      const server = this.#servers.get(serverId);
      if (server === undefined) return [];
      const { channel, proofKey } = relayGrants(server.secret, pair)[pair[0] === own ? 0 : 1];
      const offer: RelayOffer = {
        serverId,
        addresses: this.#addressesOf(serverId, server).map(addressToWire),
        channel: Buffer.from(channel, 'hex'),
        proof: Buffer.from(proofKey),
      };
      return [offer];
    });
  }

  #addressesOf(id: string, { addresses }: RelayServer): readonly Address[] {
    return addresses.length > 0 ? addresses : (this.#located.get(id) ?? []);
  }
}
