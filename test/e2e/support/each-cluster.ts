import { afterEach, beforeAll, beforeEach } from 'vitest';
import { clusterSecrets, type ClusterSecrets, TestCluster } from '../rendezvous-support.ts';

/** Gives each test of a file a cluster of its own, which ends with it; their secrets are made once. */
export function eachWithCluster(use: (cluster: TestCluster) => void): void {
  let secrets: ClusterSecrets;
  let cluster: TestCluster;
  beforeAll(async () => {
    secrets = await clusterSecrets();
  });
  beforeEach(() => {
    cluster = new TestCluster(secrets);
    use(cluster);
  });
  afterEach(() => cluster.end());
}
