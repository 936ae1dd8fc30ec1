import type { NetworkInterfaceInfo } from 'node:os';
import {
  type Address,
  type AddressScope,
  canonicalIp,
  type Family,
  familyOf,
  formatAddress,
  scopeOf,
} from '../base/address.ts';
import type { PathClass } from '../base/path-class.ts';

/**
 * How an address of a candidate became known (RFC 8445 §5.1.1): `host` an interface has it, `srflx`
 * a server saw it, `mapped` a router was asked for it, `prflx` a friend's check came from it,
 * `relay` a server passes on what is sent there.
 */
export type CandidateKind = 'host' | 'srflx' | 'mapped' | 'prflx' | 'relay';

/** An address at which a peer may be reachable. */
export interface Candidate {
  readonly kind: CandidateKind;
  readonly address: Address;
}

/** No more of one peer are told, kept or checked: each costs its friend up to nine packets a round. */
export const MAX_CANDIDATES = 16;

/** Of these, interfaces may claim so many; the rest is for what two servers see of two families. */
const MAX_HOST_CANDIDATES = 12;
const MAX_LOOPBACK_CANDIDATES = 2;

/** The ports of the local sockets; a family without a socket has none. */
export type LocalPorts = { readonly [family in Family]?: number | undefined };

/** What `os.networkInterfaces()` returns. */
export type Interfaces = Readonly<Partial<Record<string, readonly NetworkInterfaceInfo[]>>>;

/**
 * Every address of every interface, as candidates. Loopback addresses come last (`isLoopback` tells
 * them): the rules decide whether anyone hears of them. IPv6 link-local addresses are left out,
 * since a friend could not know which of its own interfaces they belong to (RFC 8445 §5.1.1.1).
 */
export function gatherHostCandidates(interfaces: Interfaces, ports: LocalPorts): Candidate[] {
  const found: Candidate[] = [];
  for (const info of Object.values(interfaces).flatMap((infos) => infos ?? [])) {
    const host = canonicalIp(info.address);
    const scope = scopeOf(host);
    const port = ports[info.family === 'IPv6' ? 6 : 4];
    if (port === undefined || scope === 'unusable') continue;
    if (scope === 'link-local' && info.family === 'IPv6') continue;
    found.push({ kind: 'host', address: { host, port } });
  }
  const loopback = found.filter(isLoopback).slice(0, MAX_LOOPBACK_CANDIDATES);
  const others = found.filter((candidate) => !isLoopback(candidate));
  return unique([...others.slice(0, MAX_HOST_CANDIDATES - loopback.length), ...loopback]);
}

/** Whether only the computer itself can reach the candidate. */
export function isLoopback(candidate: Candidate): boolean {
  return scopeOf(candidate.address.host) === 'loopback';
}

const LAN_SCOPES: ReadonlySet<AddressScope> = new Set(['private', 'link-local', 'loopback']);

/** Whether the address is one of a local network's, whatever a server saw. */
export function hasLanScope(address: Address): boolean {
  return LAN_SCOPES.has(scopeOf(address.host));
}

/**
 * The class of the path to a remote candidate, as far as one side can tell: a private address that
 * no router stands before is on our own network, all else beyond it.
 */
export function pathClassOf(remote: Candidate): PathClass {
  if (remote.kind === 'relay') return 'relay';
  const behindNobody = remote.kind === 'host' || remote.kind === 'prflx';
  return behindNobody && hasLanScope(remote.address) ? 'lan' : 'public';
}

/**
 * The order in which candidates are tried, lowest first: loopback (only ever between two peers on
 * one computer), then what a server has seen, since that hole takes longest to open, then local
 * networks, then relays; IPv6 before IPv4 (RFC 8421 §4).
 */
export function checkOrderOf(remote: Candidate): number {
  if (remote.kind === 'relay') return 6;
  const family = familyOf(remote.address) === 6 ? 0 : 1;
  if (isLoopback(remote)) return family;
  return (remote.kind !== 'host' || !hasLanScope(remote.address) ? 2 : 4) + family;
}

/** The first candidate of each address. */
export function unique(candidates: readonly Candidate[]): Candidate[] {
  const byAddress = new Map<string, Candidate>();
  for (const candidate of candidates) {
    const key = formatAddress(candidate.address);
    if (!byAddress.has(key)) byAddress.set(key, candidate);
  }
  return [...byAddress.values()];
}
