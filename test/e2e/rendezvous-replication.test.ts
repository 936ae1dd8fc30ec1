import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { Introducer } from '../../src/rendezvous/introducer.ts';
import { type Member, memberToWire } from '../../src/rendezvous/member.ts';
import { ReplicatedTable } from '../../src/rendezvous/replicated-table.ts';
import { ReplicationService } from '../../src/rendezvous/replication-service.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import { clusterSecrets, type ClusterSecrets, eventually } from './rendezvous-support.ts';

const MANY = 20_000;
const ENDPOINT = {
  candidates: [],
  ufrag: 'ufrag',
  password: 'p'.repeat(24),
  nat: undefined,
  relayRefused: false,
};

/** What a server replicates, and the streams it replicates it by, without anything else of it. */
class Replica {
  readonly table = new ReplicatedTable();
  readonly introducer: Introducer;
  readonly links: string[] = [];
  readonly #id: string;
  readonly #service: ReplicationService;
  #grpc: GrpcServer | undefined;

  constructor(digit: string, secrets: ClusterSecrets) {
    this.#id = digit.repeat(32);
    this.introducer = new Introducer(this.#id, this.table);
    this.#service = new ReplicationService(
      secrets.server,
      systemClock,
      {
        hello: () => ({
          protocol: OWN_PROTOCOL,
          member: memberToWire(this.member),
          members: [],
          relaySecret: Buffer.alloc(0),
        }),
        snapshot: () => this.introducer.snapshot(),
        seq: () => this.introducer.seq,
        ownDigest: () => this.table.digestOf(this.#id),
        digestOf: (owner) => this.table.digestOf(owner),
        unreachable: () => [],
      },
      {
        effects: (owner, effects) => {
          const at = { now: systemClock.now(), wallClock: systemClock.wallClock() };
          for (const effect of effects) {
            if (effect.type === 'linked') this.links.push(`up ${owner[0] ?? ''}`);
            if (effect.type === 'upsert') this.introducer.upsertRemote(effect.record, at);
            if (effect.type === 'remove') this.introducer.removeRemote(owner, effect.key, at);
            if (effect.type === 'retain') this.introducer.retainRemote(owner, effect.records, at);
          }
        },
        unlinked: (id) => this.links.push(`down ${id[0] ?? ''}`),
        displaced: ({ id }) => this.links.push(`displaced ${id[0] ?? ''}`),
      },
    );
  }

  static async listen(digit: string, secrets: ClusterSecrets): Promise<Replica> {
    const replica = new Replica(digit, secrets);
    replica.#grpc = await GrpcServer.listen({
      listen: [{ host: '127.0.0.1', port: 0 }],
      tls: secrets.server,
      callers: ['rendezvous'],
      maxRequestBytes: 4 * 1024 * 1024,
      addServices: (server) => replica.#service.addTo(server),
    });
    return replica;
  }

  get member(): Member {
    return {
      id: this.#id,
      incarnation: 1,
      peerAddresses: [],
      clusterAddresses: this.#grpc?.addresses ?? [],
      certificate: Buffer.from([1]),
    };
  }

  dial(member: Member): void {
    this.#service.dial(member);
  }

  /** Registers so many peers, each waiting for another. */
  register(count: number): void {
    for (let index = 0; index < count; index++) {
      const number = this.introducer.seq.toString(16);
      const result = this.introducer.register(
        {
          name: `peer ${number} of ${this.#id[0] ?? ''}`,
          key: number.padStart(64, this.#id[0]),
          session: number.padStart(48, '0'),
          loopback: false,
          endpoint: ENDPOINT,
          wishes: [{ friend: `friend ${number}`, friendKey: undefined }],
        },
        { now: systemClock.now(), wallClock: systemClock.wallClock() },
      );
      if ('refused' in result) throw new Error(result.refused);
      for (const effect of result.effects) {
        if (effect.type === 'update') this.#service.changed(effect.update);
      }
    }
  }

  async stop(): Promise<void> {
    await this.#service.stop(1_000);
    await this.#grpc?.stop(1_000, systemClock);
  }
}

let replicas: Replica[] = [];

async function three(): Promise<[Replica, Replica, Replica]> {
  const secrets = await clusterSecrets();
  const made: [Replica, Replica, Replica] = [
    await Replica.listen('1', secrets),
    await Replica.listen('2', secrets),
    await Replica.listen('3', secrets),
  ];
  replicas = made;
  return made;
}

afterEach(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
});

describe('the stream between two servers', () => {
  it(`brings ${MANY} records each way, and what changes meanwhile`, async () => {
    const [one, two] = await three();
    one.register(MANY);
    two.register(MANY);
    one.dial(two.member);
    await eventually(() => one.links).toEqual(['up 2']);
    one.register(500);
    two.register(500);
    const total = 2 * MANY + 1_000;
    await eventually(() => [one.table.size, two.table.size], 30_000).toEqual([total, total]);
    for (const { id } of [one.member, two.member]) {
      expect(one.table.digestOf(id)).toEqual(two.table.digestOf(id));
    }
  });

  it('is replaced by a newer one without being missed', async () => {
    const [one, two] = await three();
    one.register(1);
    one.dial(two.member);
    await eventually(() => two.links).toEqual(['up 1']);
    one.dial(two.member);
    await eventually(() => two.links).toEqual(['up 1', 'up 1']);
    one.register(1);
    await eventually(() => two.table.size).toBe(2);
    expect(one.links.filter((event) => event.startsWith('down'))).toEqual([]);
  });

  it('is noticed to be down on both sides when one side stops', async () => {
    const [one, two] = await three();
    one.dial(two.member);
    await eventually(() => two.links).toEqual(['up 1']);
    await one.stop();
    await eventually(() => two.links).toEqual(['up 1', 'down 1']);
  });

  it('is not taken for that of another server at the same address', async () => {
    const [one, two, three_] = await three();
    one.dial({ ...three_.member, clusterAddresses: two.member.clusterAddresses });
    await eventually(() => one.links).toEqual(['down 3', 'displaced 3']);
    expect(one.table.size).toBe(0);
  });

  it('stays when the same server looks there for the one that was there before', async () => {
    const [one, two, three_] = await three();
    one.register(1);
    one.dial(two.member);
    await eventually(() => two.links).toEqual(['up 1']);
    one.dial({ ...three_.member, clusterAddresses: two.member.clusterAddresses });
    await eventually(() => one.links).toEqual(['up 2', 'down 3', 'displaced 3']);
    one.register(1);
    await eventually(() => two.table.size).toBe(2);
    expect(two.links).toEqual(['up 1']);
  });

  it('is said to be down where nobody answers, and where there is no address', async () => {
    const [one, two] = await three();
    const { member } = two;
    await two.stop();
    one.dial(member);
    await eventually(() => one.links).toEqual(['down 2']);
    one.dial({ ...member, clusterAddresses: [] });
    expect(one.links).toEqual(['down 2', 'down 2']);
  });
});
