import { ChattyError, reasonOf } from '../base/errors.ts';
import type { NativeConnection } from './native.ts';
import { ed25519Fingerprint } from './spki.ts';

const NOTHING = Buffer.alloc(0);

/** The handshake of one connection: whether it is done, until when it may take, and who the peer is. */
export class Handshake {
  readonly #verify: (certDer: Uint8Array, alpn: string) => boolean;
  #endsAt: number;
  #done = false;
  alpn = '';
  peerCertificate: Uint8Array = NOTHING;
  peerFingerprint: Uint8Array = NOTHING;

  /** @param verify - Judges the certificate of a peer that has proven its key. */
  constructor(verify: (certDer: Uint8Array, alpn: string) => boolean, endsAt: number) {
    this.#verify = verify;
    this.#endsAt = endsAt;
  }

  /** Complete, and the peer is who it should be. */
  get done(): boolean {
    return this.#done;
  }

  /** When it has taken too long; Infinity once it is done. */
  get endsAt(): number {
    return this.#endsAt;
  }

  /**
   * TLS is through, and the peer is judged. Passes on what quiche throws.
   * @returns CHATTY_UNTRUSTED where it is refused; undefined: the handshake is done.
   */
  complete(native: NativeConnection): ChattyError | undefined {
    this.alpn = Buffer.from(native.applicationProto()).toString();
    const certDer = native.peerCertChain()?.[0];
    const refusal = certDer === undefined ? 'it sent no certificate' : this.#judge(certDer);
    if (refusal !== undefined) {
      return new ChattyError('CHATTY_UNTRUSTED', `the peer is not trusted: ${refusal}`, {
        hint: 'Check that you connect to the right program, and which key it should have.',
      });
    }
    this.#done = true;
    this.#endsAt = Infinity;
    return undefined;
  }

  /** @returns why the certificate is refused; undefined: it is not. */
  #judge(certDer: Uint8Array): string | undefined {
    try {
      const fingerprint = ed25519Fingerprint(certDer);
      if (fingerprint === undefined) return 'its certificate is not of an Ed25519 key';
      this.peerFingerprint = fingerprint;
      this.peerCertificate = Uint8Array.from(certDer);
      return this.#verify(this.peerCertificate, this.alpn) ? undefined : 'its key is another';
    } catch (error) {
      return reasonOf(error);
    }
  }
}
