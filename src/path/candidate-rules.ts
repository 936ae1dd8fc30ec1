import { isIP, isIPv6 } from 'node:net';
import { type Address, canonicalIp, type Family, familyOf, scopeOf } from '../base/address.ts';
import { type Candidate, hasLanScope, isLoopback, MAX_CANDIDATES, unique } from './candidate.ts';

/*
 * A check must not be a weapon. Whoever names a candidate makes others send packets to it, so
 *
 *   - a public address counts only if a server observed it with return routability (the source of
 *     the peer's QUIC connection, or an address cookie), whatever its range: laboratories use
 *     private ranges as public ones;
 *   - a mapped one shares its IP address with an observed one, only the port may differ;
 *   - a host one lies in a private, ULA, carrier-grade NAT or link-local range, or its IP address
 *     was observed;
 *   - loopback is for peers that servers see on loopback, and is shown only to such;
 *   - no multicast, broadcast or unspecified address, no port below 1024 except 443;
 *   - at most 16 of one peer.
 *
 * A server enforces this on what a peer says; a peer enforces again, on what a server says, all that
 * it can know.
 */

/** Whether packets may ever be sent there because somebody else said so. */
export function isSafeTarget({ host, port }: Address): boolean {
  if (isIP(host) === 0 || canonicalIp(host) !== host) return false;
  if (!Number.isInteger(port) || port > 65535 || (port < 1024 && port !== 443)) return false;
  const scope = scopeOf(host);
  return scope !== 'unusable' && !(scope === 'link-local' && isIPv6(host));
}

/**
 * What a server keeps of a peer's candidates. The observed addresses become server-reflexive
 * candidates by themselves; those that the peer calls so are not taken from it.
 *
 * @param told as the peer sent them: anything.
 * @param observed addresses at which this server knows the peer to receive, best first.
 */
export function admitFromPeer(
  told: readonly Candidate[],
  observed: readonly Address[],
): Candidate[] {
  const seen = new Set(observed.map(({ host }) => host));
  const onLoopback = observed.some(({ host }) => scopeOf(host) === 'loopback');
  // Whatever a peer says in excess of what it may say is not even looked at.
  const claims = told.slice(0, 2 * MAX_CANDIDATES).filter((candidate) => {
    if (!isSafeTarget(candidate.address)) return false;
    if (isLoopback(candidate)) return candidate.kind === 'host' && onLoopback;
    if (seen.has(candidate.address.host)) {
      return candidate.kind === 'host' || candidate.kind === 'mapped';
    }
    return candidate.kind === 'host' && hasLanScope(candidate.address);
  });
  const reflexive = observed
    .filter(isSafeTarget)
    .map((address): Candidate => ({ kind: 'srflx', address }));
  const observedKeys = new Set(reflexive.map(({ address }) => keyOf(address)));
  const isObserved = ({ address }: Candidate): boolean => observedKeys.has(keyOf(address));
  // An observed address that an interface has is a host candidate (RFC 8445 §5.1.3), and it stays
  // among the first, which survive the limit.
  const hosts = claims.filter(({ kind }) => kind === 'host');
  const mapped = claims.filter(({ kind }) => kind === 'mapped');
  const ordered = [
    ...hosts.filter(isObserved),
    ...reflexive,
    ...mapped,
    ...hosts.filter((candidate) => !isObserved(candidate)),
  ];
  return unique(ordered).slice(0, MAX_CANDIDATES);
}

/** Whether a server saw the peer with these admitted candidates on loopback. */
export function isOnLoopback(candidates: readonly Candidate[]): boolean {
  return candidates.some(isLoopback);
}

/** What of a peer's admitted candidates a friend is told: loopback only if that friend is on it. */
export function discloseCandidates(
  candidates: readonly Candidate[],
  friendIsOnLoopback: boolean,
): Candidate[] {
  return candidates.filter((candidate) => friendIsOnLoopback || !isLoopback(candidate));
}

/** What a peer knows of itself when it is told of a friend. */
export interface OwnSituation {
  /** The families it has a socket of. */
  readonly families: ReadonlySet<Family>;
  /** Whether a server sees it on loopback. */
  readonly onLoopback: boolean;
}

/**
 * What a peer checks of a friend's candidates, in the order given. That public ones were observed
 * is the server's word.
 *
 * @param told as the server sent them: anything.
 */
export function admitFromServer(told: readonly Candidate[], own: OwnSituation): Candidate[] {
  const admitted = told.slice(0, 2 * MAX_CANDIDATES).filter((candidate) => {
    if (candidate.kind === 'prflx' || !isSafeTarget(candidate.address)) return false;
    if (!own.families.has(familyOf(candidate.address))) return false;
    return own.onLoopback || !isLoopback(candidate);
  });
  return unique(admitted).slice(0, MAX_CANDIDATES);
}

function keyOf({ host, port }: Address): string {
  return `${host} ${port}`;
}
