import { type Address, sameAddress } from '../base/address.ts';

/** How a peer is reached: by UDP between two addresses, or by a numbered tunnel of this server's. */
export type RelayLink =
  | { readonly type: 'udp'; readonly remote: Address; readonly local: Address }
  | { readonly type: 'tunnel'; readonly tunnel: number };

export function sameLink(a: RelayLink, b: RelayLink): boolean {
  if (a.type === 'tunnel') return b.type === 'tunnel' && a.tunnel === b.tunnel;
  return b.type === 'udp' && sameAddress(a.remote, b.remote) && sameAddress(a.local, b.local);
}
