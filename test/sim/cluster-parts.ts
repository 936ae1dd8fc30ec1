import type { Random } from '../../src/base/random.ts';
import { Registry } from '../../src/loadbalancer/registry.ts';
import { DEFAULT_SETTINGS } from '../../src/loadbalancer/settings.ts';
import { ServerPool } from '../../src/peer/server-pool.ts';
import { Membership } from '../../src/rendezvous/membership.ts';
import type { PeerTable } from '../../src/rendezvous/peer-table.ts';
import { ReplicatedTable } from '../../src/rendezvous/replicated-table.ts';
import { ReplicationSession, type ReplicationSource } from '../../src/rendezvous/replication.ts';

/** The pure parts that the simulated programs are made of: a planted fault replaces one of them. */
export interface Parts {
  readonly registry: (random: Random) => Registry;
  readonly membership: (selfId: string, random: Random) => Membership;
  readonly table: () => PeerTable;
  readonly replication: (
    source: ReplicationSource,
    now: number,
    wanted: string | undefined,
  ) => ReplicationSession;
  readonly pool: (random: Random) => ServerPool;
}

/** On how many servers a peer registers. */
export const REGISTRATIONS = 2;

export const SOUND_PARTS: Parts = {
  registry: (random) => new Registry(DEFAULT_SETTINGS, random),
  membership: (selfId, random) => new Membership(selfId, random),
  table: () => new ReplicatedTable(),
  replication: (source, now, wanted) => new ReplicationSession(source, now, wanted),
  pool: (random) => new ServerPool({ wanted: REGISTRATIONS, random }),
};
