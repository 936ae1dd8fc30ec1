import { parseHostPort } from '../../src/base/address.ts';
import { systemClock as clock } from '../../src/base/clock.ts';
import { clientFor } from '../../src/rpc/cluster-channel.ts';
import {
  OperationsServiceClient,
  ServerState,
  type StatusResponse,
} from '../../src/rpc/generated/chatty/v1/operations.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import type { ClusterTls } from '../../src/rpc/tls-files.ts';
import { unary } from '../../src/rpc/unary-call.ts';
import { addressesFromWire } from '../../src/rpc/wire-address.ts';
import type { Cluster } from './cluster.ts';
import { BALANCERS, SERVERS } from './faults.ts';

/** How exact the times found are. */
const LOOK_EVERY_MS = 250;
const ANSWER_WITHIN_MS = 1_000;

/** A server, of one life, as the balancers last handed it out. */
interface Listed {
  readonly id: string;
  readonly ip: string;
  lastSeenAt: number;
}

/** Looks at the cluster as operators do: through its balancers' status and its servers' figures. */
export class Observer {
  readonly #cluster: Cluster;
  readonly #clients: readonly OperationsServiceClient[];
  readonly #listed = new Map<string, Listed>();

  constructor(cluster: Cluster, tls: ClusterTls) {
    this.#cluster = cluster;
    this.#clients = BALANCERS.map((host) => {
      const address = parseHostPort(cluster.clusterAddressOf(host));
      if (address === undefined) throw new RangeError(`${host} has no address`);
      return clientFor(OperationsServiceClient, address, tls, 'loadbalancer');
    });
  }

  async keepLooking(signal: AbortSignal): Promise<void> {
    const looks = this.#clients.map(async (client) => {
      while (!signal.aborted) {
        await this.#look(client);
        await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
      }
    });
    await Promise.all(looks);
    for (const client of this.#clients) client.close();
  }

  /** The life of the server at this address that was handed out last. */
  latestAt(ip: string): Listed | undefined {
    let latest: Listed | undefined;
    for (const listed of this.#listed.values()) {
      if (listed.ip === ip && listed.lastSeenAt >= (latest?.lastSeenAt ?? 0)) latest = listed;
    }
    return latest;
  }

  /** Of each server: how many records its table holds, and how many peers wait there. */
  async tables(): Promise<readonly Table[] | undefined> {
    try {
      return await Promise.all(SERVERS.map((host) => this.#table(host)));
    } catch {
      return undefined;
    }
  }

  /**
   * Waits until the tables of all servers are as wanted.
   * @returns after how many milliseconds they were; undefined if they were not within `patienceMs`.
   */
  async untilTables(
    wanted: (tables: readonly Table[]) => boolean,
    patienceMs: number,
  ): Promise<number | undefined> {
    const startedAt = clock.now();
    while (clock.now() - startedAt < patienceMs) {
      const tables = await this.tables();
      if (tables !== undefined && wanted(tables)) return clock.now() - startedAt;
      await clock.sleep(LOOK_EVERY_MS);
    }
    return undefined;
  }

  async #look(client: OperationsServiceClient): Promise<void> {
    const answer = await unary<StatusResponse>(
      (metadata, options, done) =>
        client.status({ protocol: OWN_PROTOCOL }, metadata, options, done),
      { deadlineMs: ANSWER_WITHIN_MS, clock },
    ).catch(() => undefined);
    for (const { member, state } of answer?.servers ?? []) {
      // A suspect is still handed out.
      const handedOut =
        state === ServerState.SERVER_STATE_LISTED || state === ServerState.SERVER_STATE_SUSPECT;
      if (member === undefined || !handedOut) continue;
      const life = `${member.id}/${String(member.incarnation)}`;
      const ip = addressesFromWire(member.clusterAddresses, 1)[0]?.host ?? '';
      const listed = this.#listed.get(life) ?? { id: life, ip, lastSeenAt: 0 };
      listed.lastSeenAt = clock.now();
      this.#listed.set(life, listed);
    }
  }

  async #table(host: string): Promise<Table> {
    const response = await fetch(`${this.#cluster.operationsOf(host)}/metrics`, {
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const text = await response.text();
    const sample = (name: string): number =>
      Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
    return {
      host,
      records: sample('chatty_table_records'),
      waiting: sample('chatty_peers_waiting'),
      checksum: sample('chatty_table_checksum'),
    };
  }
}

export interface Table {
  readonly host: string;
  readonly records: number;
  readonly waiting: number;
  readonly checksum: number;
}

/** Every server holds the same records, exactly as many as peers wait on all of them. */
export function areEqual(tables: readonly Table[]): boolean {
  const waiting = tables.reduce((sum, table) => sum + table.waiting, 0);
  return tables.every(
    ({ records, checksum }) => records === waiting && checksum === tables[0]?.checksum,
  );
}
