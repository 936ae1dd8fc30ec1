import { formatAddress } from '../base/address.ts';
import { formatFingerprint, parseFingerprint } from '../base/identity.ts';
import { isNormalName } from '../base/name.ts';
import { type BalancerAddress, parseBalancerAddress } from '../base/balancer-address.ts';

/*
 * An invitation is a link that a chat, a mail and a shell leave as it is:
 *
 *   chatty://v1/INVITER/GUEST/sha256-KEY/HOST:PORT=sha256-PIN,HOST:PORT=sha256-PIN
 *
 * Names and hosts are percent-encoded (RFC 3986 §2.1); nothing in it is special to a shell. KEY is
 * the inviter's. A balancer without a pin is accepted on first use.
 */

export interface Invitation {
  readonly inviter: string;
  readonly guest: string;
  /** The inviter's fingerprint. */
  readonly key: Uint8Array;
  /** At least one. */
  readonly loadBalancers: readonly BalancerAddress[];
}

const SCHEME = 'chatty://';
const VERSION = 'v1';
/** Longer text is no link of ours: 8 balancers with the longest names and pins fit. */
const MAX_LINK_LENGTH = 4_096;
const MAX_BALANCERS = 8;

export function formatInvitation(invitation: Invitation): string {
  const balancers = invitation.loadBalancers.slice(0, MAX_BALANCERS).map((balancer) => {
    const place = encode(formatAddress(balancer)).replaceAll('%3A', ':');
    return balancer.pin === undefined ? place : `${place}=${formatFingerprint(balancer.pin)}`;
  });
  const parts = [
    VERSION,
    encode(invitation.inviter),
    encode(invitation.guest),
    formatFingerprint(invitation.key),
    balancers.join(','),
  ];
  return SCHEME + parts.join('/');
}

/** @returns the invitation, or what is wrong with the link, as the end of a sentence. */
export function parseInvitation(link: string): { invitation: Invitation } | { fault: string } {
  const text = link.trim();
  if (text.length > MAX_LINK_LENGTH) return { fault: 'it is too long' };
  if (!text.toLowerCase().startsWith(SCHEME)) return { fault: `it does not begin with ${SCHEME}` };
  const [version = '', ...parts] = text.slice(SCHEME.length).split('/');
  if (version !== VERSION) {
    return /^v\d+$/.test(version)
      ? { fault: `it was made by a newer Chatty (${version}): update this one` }
      : { fault: 'it is damaged' };
  }
  const [inviter, guest, keyText, balancerText, ...rest] = parts.map(decode);
  const key = parseFingerprint(keyText ?? '');
  if (rest.length > 0 || balancerText === undefined || key === undefined) {
    return { fault: 'it is not complete: copy the whole of it' };
  }
  if (inviter === undefined || !isNormalName(inviter) || guest === undefined) {
    return { fault: 'it holds a name that cannot be one' };
  }
  if (!isNormalName(guest)) return { fault: 'it holds a name that cannot be one' };
  if (inviter === guest) return { fault: 'both people in it have the same name' };
  const balancers = balancerText.split(',').map(readBalancer);
  const loadBalancers = balancers.filter((balancer) => balancer !== undefined);
  if (loadBalancers.length !== balancers.length || balancers.length > MAX_BALANCERS) {
    return { fault: 'it holds no list of load balancers' };
  }
  return { invitation: { inviter, guest, key, loadBalancers } };
}

/** What a URL leaves as it is, without what shells and chats make something of. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function readBalancer(text: string): BalancerAddress | undefined {
  return parseBalancerAddress(text.replace('=', '#'));
}
