import { type Address, scopeOf } from '../base/address.ts';
import { isNormalName } from '../base/name.ts';
import { admitFromPeer } from '../path/index.ts';
import type {
  Endpoint as WireEndpoint,
  Fault,
  Wish as WireWish,
} from '../rpc/generated/chatty/v1/common.ts';
import type { PeerHello } from '../rpc/generated/chatty/v1/rendezvous.ts';
import { negotiate } from '../rpc/protocol.ts';
import { FAULTS } from './faults.ts';
import type { Claim } from './introducer.ts';
import { type Endpoint, MAX_WISHES, type NatReport, type Wish } from './record.ts';
import { endpointFromWire, wishFromWire } from './record-codec.ts';
import { sessionFromWire } from './session-order.ts';

/** What a server knows of a peer by itself, whatever the peer says. */
export interface Sighting {
  /** SHA-256 of the SubjectPublicKeyInfo that the connection proved, in hexadecimal. */
  readonly key: string;
  /** Where the connection comes from; undefined: by a tunnel. */
  readonly source: Address | undefined;
}

/** The peer's own words about its addresses, kept to be judged again when it is seen elsewhere. */
export interface ToldEndpoint {
  readonly told: Endpoint;
  /** Addresses proven by STUN cookies. */
  readonly proven: readonly Address[];
}

/** What the peer says of its addresses. @returns undefined where the credentials are none. */
export function readEndpoint(
  wire: WireEndpoint | undefined,
  cookies: readonly Uint8Array[],
  checkCookie: (cookie: Uint8Array) => Address | undefined,
): ToldEndpoint | undefined {
  const told = endpointFromWire(wire);
  if (told === undefined) return undefined;
  const proven = cookies.slice(0, MAX_COOKIES).map(checkCookie);
  return { told, proven: proven.filter((address) => address !== undefined) };
}

/** More servers, times families, than a peer asks. */
const MAX_COOKIES = 8;

/** The endpoint as it may be passed on: only what the rules admit, and where the peer was seen. */
export function admitEndpoint(
  { told, proven }: ToldEndpoint,
  { source }: Sighting,
): { readonly endpoint: Endpoint; readonly loopback: boolean } {
  const observed = source === undefined ? proven : [source, ...proven];
  return {
    endpoint: {
      ...told,
      candidates: admitFromPeer(told.candidates, observed),
      nat: admitNat(told.nat, observed),
    },
    loopback: source !== undefined && scopeOf(source.host) === 'loopback',
  };
}

/** Friends guess ports at the address in a report: it has to be the peer's own. */
function admitNat(nat: NatReport | undefined, observed: readonly Address[]): NatReport | undefined {
  const host = nat?.lastObserved?.host;
  const own = host !== undefined && observed.some((address) => address.host === host);
  return nat === undefined || own ? nat : { ...nat, lastObserved: undefined };
}

/** A wish as `name` may make it. */
export function readWish(wire: WireWish | undefined, name: string): Wish | { fault: Fault } {
  const wish = wishFromWire(wire);
  if (wish === undefined) return { fault: FAULTS.badName };
  return wish.friend === name ? { fault: FAULTS.ownName } : wish;
}

/** Checks a hello. @returns what the peer claims, or what it is told instead. */
export function readHello(
  hello: PeerHello,
  sighting: Sighting,
  checkCookie: (cookie: Uint8Array) => Address | undefined,
): { readonly claim: Claim; readonly told: ToldEndpoint } | { readonly fault: Fault } {
  const agreed = negotiate(hello.protocol, 'peer');
  if ('fault' in agreed) return agreed;
  const { name } = hello;
  if (!isNormalName(name)) return { fault: FAULTS.badName };
  const session = sessionFromWire(hello.session);
  if (session === undefined) return { fault: FAULTS.badSession };
  const told = readEndpoint(hello.endpoint, hello.stunCookies, checkCookie);
  if (told === undefined) return { fault: FAULTS.badEndpoint };
  if (hello.wishes.length > MAX_WISHES) return { fault: FAULTS.tooManyWishes };
  const wishes: Wish[] = [];
  for (const wire of hello.wishes) {
    const wish = readWish(wire, name);
    if ('fault' in wish) return wish;
    wishes.push(wish);
  }
  const admitted = admitEndpoint(told, sighting);
  return { claim: { name, key: sighting.key, session, ...admitted, wishes }, told };
}
