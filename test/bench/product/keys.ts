import { createClusterCa, issueCertificate } from '../../../src/base/certificate.ts';
import { LOAD_BALANCER_NAME, RENDEZVOUS_NAME } from '../../../src/base/role-names.ts';
import type { ClusterTls } from '../../../src/rpc/tls-files.ts';

/** What the daemons of one cluster prove themselves with. */
export interface ClusterKeys {
  readonly loadbalancer: ClusterTls;
  readonly rendezvous: ClusterTls;
}

export async function createClusterKeys(): Promise<ClusterKeys> {
  const ca = await createClusterCa();
  const [loadbalancer, rendezvous] = await Promise.all(
    [LOAD_BALANCER_NAME, RENDEZVOUS_NAME].map(async (name): Promise<ClusterTls> => ({
      caPem: ca.certPem,
      identity: await issueCertificate(ca, name),
    })),
  );
  if (loadbalancer === undefined || rendezvous === undefined) throw new Error('no keys');
  return { loadbalancer, rendezvous };
}
