import type { Random } from '../../src/base/random.ts';
import type { RegistryEffect, RegistryInput } from '../../src/loadbalancer/events.ts';
import { Registry } from '../../src/loadbalancer/registry.ts';
import { DEFAULT_SETTINGS } from '../../src/loadbalancer/settings.ts';
import {
  ServerPool,
  type ServerPoolEffect,
  type ServerPoolInput,
} from '../../src/peer/server-pool.ts';
import type { MemberFact } from '../../src/rendezvous/member.ts';
import {
  Membership,
  type MembershipEffect,
  type MembershipInput,
} from '../../src/rendezvous/membership.ts';
import type { PeerRecord, RecordWish } from '../../src/rendezvous/record.ts';
import { ReplicatedTable } from '../../src/rendezvous/replicated-table.ts';
import { type ReplicationEffect, ReplicationSession } from '../../src/rendezvous/replication.ts';
import type { ReplicationFrame } from '../../src/rpc/generated/chatty/v1/replication.ts';
import { type Parts, REGISTRATIONS, SOUND_PARTS } from './cluster-parts.ts';

/** Tells nobody what it owned before the stream began. */
class WithoutSnapshot extends ReplicationSession {
  override next(now: number): ReplicationFrame | undefined {
    const frame = super.next(now);
    if (frame?.kind?.$case !== 'snapshot') return frame;
    return { kind: { $case: 'snapshot', value: { ...frame.kind.value, records: [] } } };
  }
}

/** Does not look at digests. */
class WithoutDigests extends ReplicationSession {
  override receive(frame: ReplicationFrame, now: number): readonly ReplicationEffect[] {
    return frame.kind?.$case === 'digest' ? [] : super.receive(frame, now);
  }
}

/** Looks at no digest for a while after it has asked for a snapshot, whyever. */
class SeldomRepairs extends ReplicationSession {
  #askedAt = -Infinity;

  override next(now: number): ReplicationFrame | undefined {
    const frame = super.next(now);
    if (frame?.kind?.$case === 'snapshotRequest') this.#askedAt = now;
    return frame;
  }

  override receive(frame: ReplicationFrame, now: number): readonly ReplicationEffect[] {
    const ignored = frame.kind?.$case === 'digest' && now - this.#askedAt < 30_000;
    return ignored ? [] : super.receive(frame, now);
  }
}

/** Answers a call that was meant for the server that was here before. */
class AnyCallIsMine extends ReplicationSession {
  override receive(frame: ReplicationFrame, now: number): readonly ReplicationEffect[] {
    if (frame.kind?.$case !== 'hello') return super.receive(frame, now);
    const value = { ...frame.kind.value, wantedId: '' };
    return super.receive({ kind: { $case: 'hello', value } }, now);
  }
}

/** Takes whatever it hears last for the newest. */
class WithoutIncarnation extends Membership {
  #heard = 0;

  override step(input: MembershipInput, now: number): MembershipEffect[] {
    const newest = (fact: MemberFact): MemberFact => ({
      ...fact,
      member: { ...fact.member, incarnation: ++this.#heard },
    });
    if (input.type === 'notified' || input.type === 'hearsay') {
      return super.step({ ...input, facts: input.facts.map(newest) }, now);
    }
    if (input.type !== 'registered') return super.step(input, now);
    const members = input.members.map(
      (member) => newest({ member, standing: 'alive' as const }).member,
    );
    return super.step({ ...input, members }, now);
  }
}

/** Removes a server's records because one balancer has taken it off its list. */
class PurgesOnOneWord extends Membership {
  override step(input: MembershipInput, now: number): MembershipEffect[] {
    const effects = super.step(input, now);
    if (input.type !== 'notified') return effects;
    const removed = input.facts.filter(({ standing }) => standing === 'removed');
    return [
      ...effects,
      ...removed.map(({ member }) => ({ type: 'purge' as const, id: member.id })),
    ];
  }
}

/** Serves without waiting for anybody's snapshot. */
class ServesAtOnce extends Membership {
  #told = false;

  override step(input: MembershipInput, now: number): MembershipEffect[] {
    const effects = super.step(input, now).filter(({ type }) => type !== 'serve');
    if (this.#told || input.type !== 'registered') return effects;
    this.#told = true;
    return [...effects, { type: 'serve' }];
  }
}

/** Everybody in it seems to wish for everybody. */
class WishesAll extends ReplicatedTable {
  override find(name: string, key: string): readonly PeerRecord[] {
    return super.find(name, key).map((record) => ({ ...record, wishes: new AllWishes(record) }));
  }
}

class AllWishes extends Map<string, RecordWish> {
  constructor({ wishes }: PeerRecord) {
    super(wishes);
  }

  override get(friend: string): RecordWish {
    return super.get(friend) ?? { friend, friendKey: undefined, since: 0 };
  }
}

/** Stays where it is, whatever the server says. */
class NeverMoves extends ServerPool {
  override step(input: ServerPoolInput, now: number): ServerPoolEffect[] {
    return super.step(input.type === 'moving' ? { type: 'tick' } : input, now);
  }
}

/** A balancer that takes all registrations at an address for equally new. */
class BlindToIncarnation extends Registry {
  constructor(random: Random) {
    super(DEFAULT_SETTINGS, random);
  }

  override step(input: RegistryInput, now: number): RegistryEffect[] {
    if (input.kind !== 'register') return super.step(input, now);
    return super.step({ ...input, member: { ...input.member, incarnation: 1n } }, now);
  }
}

/** A balancer that removes whoever misses one check. */
class WithoutSecondChance extends Registry {
  constructor(random: Random) {
    super(DEFAULT_SETTINGS, random);
  }

  override step(input: RegistryInput, now: number): RegistryEffect[] {
    return super.step(input, now).flatMap((effect): RegistryEffect[] => {
      if (effect.kind === 'probe') {
        return super.step({ kind: 'probed', probe: effect.probe, found: 'unhealthy' }, now);
      }
      if (effect.kind !== 'check' || input.kind !== 'checked') return [effect];
      return super.step({ kind: 'checked', check: effect.check, outcome: 'silent' }, now);
    });
  }
}

/** Faults that the simulator has to find, each by what it does wrong. */
export const PLANTED: Readonly<Record<string, Parts>> = {
  'no snapshot for newcomers': {
    ...SOUND_PARTS,
    replication: (...args) => new WithoutSnapshot(...args),
  },
  'incarnation ignored by servers': {
    ...SOUND_PARTS,
    membership: (...args) => new WithoutIncarnation(...args),
  },
  'incarnation ignored by balancers': {
    ...SOUND_PARTS,
    registry: (random) => new BlindToIncarnation(random),
  },
  'match without mutual naming': { ...SOUND_PARTS, table: () => new WishesAll() },
  'purge on one balancer’s word': {
    ...SOUND_PARTS,
    membership: (...args) => new PurgesOnOneWord(...args),
  },
  'serving before all snapshots are there': {
    ...SOUND_PARTS,
    membership: (...args) => new ServesAtOnce(...args),
  },
  'peers that never move on drain': {
    ...SOUND_PARTS,
    pool: (random) => new NeverMoves({ wanted: REGISTRATIONS, random }),
  },
  'no repair by digests': {
    ...SOUND_PARTS,
    replication: (...args) => new WithoutDigests(...args),
  },
  'a difference that is not repaired at the next digest': {
    ...SOUND_PARTS,
    replication: (...args) => new SeldomRepairs(...args),
  },
  'calls for the server that was there before are taken': {
    ...SOUND_PARTS,
    replication: (...args) => new AnyCallIsMine(...args),
  },
  'no second opinion on a missed check': {
    ...SOUND_PARTS,
    registry: (random) => new WithoutSecondChance(random),
  },
};
