import type { Quiche } from '@matrixai/quic/native/quiche.js';
import type { Config, Connection, Host, Shutdown } from '@matrixai/quic/native/types.js';
import { ChattyError, reasonOf } from '../base/errors.ts';

export type { Config as NativeConfig, Connection as NativeConnection };
export type { Host as HostPort, Quiche, Shutdown };

/** What the binding is published for, as `platform-arch` of Node. */
const PREBUILT = ['linux-x64', 'darwin-x64', 'darwin-arm64', 'win32-x64'];

let loaded: Promise<Quiche> | undefined;

/**
 * The quiche binding, loaded on first use, so that a platform without a binary can still run
 * everything that needs no QUIC (`--help`, the load balancer).
 * @throws ChattyError CHATTY_PLATFORM where there is no binary for this computer.
 */
export function loadQuiche(): Promise<Quiche> {
  loaded ??= import('@matrixai/quic/native/quiche.js').then(
    (module) => module.default,
    (error: unknown) => {
      throw platformError(process.platform, process.arch, error);
    },
  );
  return loaded;
}

export function platformError(platform: string, arch: string, cause: unknown): ChattyError {
  const target = `${platform}-${arch}`;
  const published = PREBUILT.includes(target);
  return new ChattyError(
    'CHATTY_PLATFORM',
    published
      ? `the QUIC library for ${target} did not load: ${reasonOf(cause)}`
      : `there is no QUIC library for ${target}`,
    {
      cause,
      hint: published
        ? 'Run npm ci again, with optional dependencies and on a system with a current C library.'
        : `It is published for ${PREBUILT.join(', ')}; run Chatty with Node for one of these.`,
    },
  );
}

/** What quiche calls an error of a stream that the peer ended early, with the peer's code. */
export interface PeerStreamError {
  readonly kind: 'reset' | 'stopped';
  readonly code: number;
}

/** Reads `StreamReset(7)` and `StreamStopped(7)`; undefined: another error. */
export function peerStreamError(error: unknown): PeerStreamError | undefined {
  const match = /^Stream(Reset|Stopped)\((\d+)\)$/.exec(reasonOf(error));
  if (match === null) return undefined;
  return { kind: match[1] === 'Reset' ? 'reset' : 'stopped', code: Number(match[2]) };
}

/** The smoothed round-trip time of the path in use, in whole ms; 0 where it is not known. */
export function smoothedRttMs(native: Connection): number {
  const active = native.pathStats().find((path) => path.active);
  return active?.rtt ?? 0;
}
