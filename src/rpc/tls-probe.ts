import { X509Certificate } from 'node:crypto';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import type { Address } from '../base/address.ts';
import { type Role, roleName } from './role.ts';

/** What the other end of a TLS connection showed; nothing of it has been verified. */
export interface ShownChain {
  readonly leaf: X509Certificate;
  readonly others: readonly X509Certificate[];
}

/** More certificates than this in one handshake are not looked at. */
const MAX_CERTIFICATES = 16;

/**
 * Makes a TLS connection only to read which certificates the other end shows, and closes it. The
 * handshake proves that the other end holds the leaf's key; who signed the leaf is for the caller to
 * check. (It is never decided by `checkServerIdentity`: with `rejectUnauthorized: false` Node calls
 * that only for chains that verified anyway.)
 * @throws the socket's error, or the signal's reason.
 */
export function readShownChain(
  address: Address,
  role: Role,
  signal: AbortSignal,
): Promise<ShownChain> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const socket = connect({
      host: address.host,
      port: address.port,
      servername: roleName(role),
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    });
    const finish = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      settle();
    };
    const onAbort = (): void => finish(() => reject(signal.reason as Error));
    signal.addEventListener('abort', onAbort, { once: true });
    // Stays until the end: a socket's late error must not end the process.
    socket.on('error', (error: Error) => finish(() => reject(error)));
    socket.once('close', () =>
      finish(() => reject(new Error('the connection was closed during the TLS handshake'))),
    );
    socket.once('secureConnect', () => {
      let chain: ShownChain | Error;
      try {
        // Only this: asking for getPeerX509Certificate() as well would empty the list of issuers.
        chain = chainOf(socket.getPeerCertificate(true));
      } catch (error) {
        chain = new Error('it showed no readable certificate', { cause: error });
      }
      finish(() => (chain instanceof Error ? reject(chain) : resolve(chain)));
    });
  });
}

/** Node links each certificate to its issuer, and a self-signed one to itself. */
function chainOf(shown: DetailedPeerCertificate): ShownChain {
  const others: X509Certificate[] = [];
  let current = shown;
  while (others.length < MAX_CERTIFICATES) {
    const issuer = current.issuerCertificate as DetailedPeerCertificate | undefined;
    if (issuer === undefined || issuer === current) break;
    others.push(new X509Certificate(issuer.raw));
    current = issuer;
  }
  return { leaf: new X509Certificate(shown.raw), others };
}
