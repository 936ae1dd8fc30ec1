import type { NativeConnection } from './native.ts';
import type { CloseReason } from './types.ts';

/** The longest reason text of a peer that is kept. */
const MAX_REASON_BYTES = 256;

/** Why quiche says that a connection is over. `opened`: its handshake had been done. */
export function endReason(native: NativeConnection, opened: boolean): CloseReason {
  const peer = native.peerError();
  if (peer !== null) {
    return {
      kind: 'peer',
      code: peer.errorCode,
      reason: Buffer.from(peer.reason).subarray(0, MAX_REASON_BYTES).toString(),
    };
  }
  if (native.isTimedOut()) {
    return opened
      ? { kind: 'idle', code: 0, reason: 'nothing was heard for the idle timeout' }
      : { kind: 'handshake', code: 0, reason: 'no answer' };
  }
  const local = native.localError();
  return {
    kind: opened ? 'transport' : 'handshake',
    code: local?.errorCode ?? 0,
    reason: local === null ? 'the connection was lost' : describe(local.errorCode),
  };
}

/** RFC 9000 §20.1, RFC 8446 §6. */
function describe(code: number): string {
  return code >= 0x100 && code < 0x200
    ? `TLS alert ${code - 0x100}`
    : `QUIC transport error 0x${code.toString(16)}`;
}
