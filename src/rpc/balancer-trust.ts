import type { X509Certificate } from 'node:crypto';
import { type Address, formatAddress } from '../base/address.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import { certificateFingerprint, compareBytes, formatFingerprint } from '../base/identity.ts';
import { parseChain, rootOf } from './certificate-chain.ts';
import { carriesRole } from './role.ts';
import { readShownChain } from './tls-probe.ts';

/** By what a load balancer is known to be the right one. */
export type BalancerTrust =
  /** Its certificate chain ends at one of these authorities (PEM). */
  | { readonly kind: 'ca'; readonly pem: string }
  /** Its cluster's CA has a key with this SHA-256 of its SubjectPublicKeyInfo. */
  | { readonly kind: 'pin'; readonly sha256: Uint8Array }
  /** Whatever CA it shows is accepted; the caller stores it. */
  | { readonly kind: 'first-use' };

/**
 * Reads the chain the address shows and checks it against `trust`.
 * @returns the authority at its end.
 */
export async function verifiedRoot(
  address: Address,
  trust: BalancerTrust,
  signal: AbortSignal,
): Promise<X509Certificate> {
  const place = formatAddress(address);
  let shown;
  try {
    shown = await readShownChain(address, 'loadbalancer', signal);
  } catch (error) {
    throw transportError(place, transportReason(error), error);
  }
  const { leaf, others } = shown;
  const root = rootOf(leaf, others);
  if (root === undefined) {
    throw untrusted(place, 'it shows no certificate chain that ends at a certificate authority');
  }
  const found = certificateFingerprint(root);
  const expected = expectedFingerprints(trust);
  if (expected !== undefined && !expected.some((each) => compareBytes(each, found) === 0)) {
    throw untrusted(
      place,
      `its cluster's CA is ${formatFingerprint(found)}, expected was ` +
        expected.map(formatFingerprint).join(' or '),
    );
  }
  if (!carriesRole(leaf, 'loadbalancer')) {
    throw untrusted(place, "its certificate is not a load balancer's");
  }
  return root;
}

function expectedFingerprints(trust: BalancerTrust): Uint8Array[] | undefined {
  if (trust.kind === 'first-use') return undefined;
  return trust.kind === 'pin'
    ? [trust.sha256]
    : authoritiesOf(trust.pem).map(certificateFingerprint);
}

/** The authorities of a PEM text. @throws ChattyError CHATTY_KEY_FILE for text that holds none. */
export function authoritiesOf(pem: string): [X509Certificate, ...X509Certificate[]] {
  try {
    return parseChain(pem) as [X509Certificate, ...X509Certificate[]];
  } catch (error) {
    throw new ChattyError('CHATTY_KEY_FILE', `cannot use the CA given: ${reasonOf(error)}`, {
      hint: "Give the cluster's ca.pem.",
      cause: error,
    });
  }
}

/** That no answer came from `place`, and why. */
export function transportError(place: string, reason: string, cause: unknown): ChattyError {
  return new ChattyError('CHATTY_TRANSPORT', `cannot ask the load balancer ${place}: ${reason}`, {
    hint: 'Check the address, that the load balancer runs, and that a firewall lets TCP through.',
    cause,
  });
}

function untrusted(place: string, what: string): ChattyError {
  return new ChattyError('CHATTY_UNTRUSTED', `the load balancer ${place} is not trusted: ${what}`, {
    hint: 'Ask whoever runs the cluster for its ca.pem (--ca FILE) or its pin (HOST:PORT#sha256-…).',
  });
}

function transportReason(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'ECONNRESET':
      return 'the connection was reset; is another program listening there?';
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return 'what listens there does not speak TLS';
    default:
      return reasonOf(error);
  }
}
