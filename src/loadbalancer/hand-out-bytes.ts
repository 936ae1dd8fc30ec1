import { GetServersResponse } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { OWN_PROTOCOL } from '../rpc/protocol.ts';
import { addressToWire } from '../rpc/wire-address.ts';
import { type Member, memberToWire } from './member.ts';
import type { HandOut } from './registry.ts';

const NOTHING: GetServersResponse = {
  protocol: undefined,
  servers: [],
  stunAddresses: [],
  loadBalancers: [],
};

/**
 * The answers to `GetServers` as they go over the wire. Thousands a second differ in their order
 * alone, so each server is encoded once: encoded messages put one after another are one message whose
 * lists hold what theirs held (https://protobuf.dev/programming-guides/encoding, "Last One Wins").
 */
export class HandOutBytes {
  readonly #start = encode({ protocol: OWN_PROTOCOL });
  /** By the member as the registry holds it, which is another one once anything in it changes. */
  readonly #servers = new WeakMap<Member, Uint8Array>();

  /** @param balancers what the peer is told of other load balancers. */
  of({ servers, stunAddresses }: HandOut, balancers: readonly string[]): Buffer {
    const parts = [this.#start];
    for (const member of servers) parts.push(this.#server(member));
    if (stunAddresses.length > 0 || balancers.length > 0) {
      const addresses = stunAddresses.map(addressToWire);
      parts.push(encode({ stunAddresses: addresses, loadBalancers: [...balancers] }));
    }
    return Buffer.concat(parts);
  }

  #server(member: Member): Uint8Array {
    const known = this.#servers.get(member);
    if (known !== undefined) return known;
    const { id, peerAddresses: addresses, certificate } = memberToWire(member);
    const bytes = encode({ servers: [{ id, addresses, certificate }] });
    this.#servers.set(member, bytes);
    return bytes;
  }
}

function encode(fields: Partial<GetServersResponse>): Uint8Array {
  return GetServersResponse.encode({ ...NOTHING, ...fields }).finish();
}
