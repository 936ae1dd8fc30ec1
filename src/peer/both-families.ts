import { networkInterfaces } from 'node:os';
import type { Address } from '../base/address.ts';
import type { QuicEndpoint } from '../quic/index.ts';

/** Opens a socket of each family on every address and a free port: of both, where the computer has both. */
export async function openBothFamilies(
  open: (listen: readonly Address[]) => Promise<QuicEndpoint>,
): Promise<QuicEndpoint> {
  const v4 = { host: '0.0.0.0', port: 0 };
  const hasV6 = Object.values(networkInterfaces()).some((entries) =>
    entries?.some(({ family }) => family === 'IPv6'),
  );
  if (!hasV6) return open([v4]);
  try {
    return await open([v4, { host: '::', port: 0 }]);
  } catch {
    // IPv6 can be off although an interface shows an address.
    return open([v4]);
  }
}
