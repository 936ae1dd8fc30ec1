import type { Identity } from '../base/identity.ts';
import type { NativeConfig, Quiche } from './native.ts';
import type { QuicLimits } from './limits.ts';

/**
 * How many connection IDs of the peer a side of a carried connection remembers (RFC 9000 §5.1.1):
 * one a class of path, and as many again in case some are being replaced.
 */
const CARRIED_ID_LIMIT = 8;
/** As few as can be for a plain connection, which has one path. */
const PLAIN_ID_LIMIT = 2;

export interface TlsOptions {
  readonly identity: Identity;
  readonly alpn: readonly string[];
  readonly limits: QuicLimits;
  readonly idleTimeoutMs: number;
  readonly maxDatagramBytes: number;
  readonly carried: boolean;
}

/**
 * Transport parameters and TLS for one side of a connection. Both sides present a certificate; any
 * is let through TLS, whose part is to prove possession of the key, and judged when the handshake
 * is done. Only Ed25519 is spoken.
 */
export function tlsConfig(quiche: Quiche, options: TlsOptions): NativeConfig {
  const { identity, limits } = options;
  const config = quiche.Config.withBoringSslCtx(
    true,
    true,
    undefined,
    [Buffer.from(identity.keyPem)],
    [Buffer.from(identity.certPem)],
    'ed25519',
  );
  const window = Math.min(1024 * 1024, limits.receiveWindowBytes);
  config.grease(false);
  config.setApplicationProtos([...options.alpn]);
  config.setMaxIdleTimeout(options.idleTimeoutMs);
  config.setMaxRecvUdpPayloadSize(65_527);
  config.setMaxSendUdpPayloadSize(options.maxDatagramBytes);
  config.setInitialMaxData(window);
  config.setInitialMaxStreamDataBidiLocal(window);
  config.setInitialMaxStreamDataBidiRemote(window);
  config.setInitialMaxStreamDataUni(0);
  config.setInitialMaxStreamsBidi(limits.maxStreams);
  config.setInitialMaxStreamsUni(0);
  config.setMaxConnectionWindow(limits.receiveWindowBytes);
  config.setMaxStreamWindow(limits.receiveWindowBytes);
  config.setActiveConnectionIdLimit(options.carried ? CARRIED_ID_LIMIT : PLAIN_ID_LIMIT);
  config.setDisableActiveMigration(false);
  config.setCcAlgorithm(quiche.CongestionControlAlgorithm.CUBIC);
  config.enableHystart(true);
  config.enablePacing(false);
  return config;
}
