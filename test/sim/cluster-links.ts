import { formatAddress } from '../../src/base/address.ts';
import type { Timer } from '../../src/base/clock.ts';
import { factToWire, type Member, memberToWire } from '../../src/rendezvous/member.ts';
import type { RecordUpdate } from '../../src/rendezvous/record.ts';
import type { ReplicationEffect, ReplicationSession } from '../../src/rendezvous/replication.ts';
import { ReplicationFrame } from '../../src/rpc/generated/chatty/v1/replication.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import type { Parts } from './cluster-parts.ts';
import type { SimServer } from './cluster-server.ts';
import type { WireEnd } from './cluster-wire.ts';

const DIAL_WITHIN_MS = 5_000;

interface LinkHandlers {
  /** What another server said; the stream goes on. */
  effects(owner: string, effects: readonly ReplicationEffect[]): void;
  /** Another server answers where this member was called. */
  displaced(member: Member): void;
  /** The stream to another server is over. */
  lost(id: string, lastHeardAt: number, reason: string): void;
  unreached(id: string): void;
}

interface Link {
  readonly session: ReplicationSession;
  readonly end: WireEnd;
  readonly wanted: Member | undefined;
  timer: Timer | undefined;
  over: boolean;
}

/** The streams of a server to the others, as the replication service keeps them. */
export class SimLinks {
  readonly #server: SimServer;
  readonly #replication: Parts['replication'];
  readonly #handlers: LinkHandlers;
  readonly #links = new Set<Link>();
  readonly #byMember = new Map<string, Link>();
  #flushing = false;

  constructor(server: SimServer, replication: Parts['replication'], handlers: LinkHandlers) {
    this.#server = server;
    this.#replication = replication;
    this.#handlers = handlers;
  }

  has(id: string): boolean {
    return this.#byMember.has(id);
  }

  dial(member: Member): void {
    const { network } = this.#server;
    network.open(this.#server, clusterAddress(member), 'tcp', DIAL_WITHIN_MS, {
      opened: (end) => this.open(end, member),
      failed: () => this.#handlers.unreached(member.id),
    });
  }

  /** Everybody is told of a change to what this server owns. */
  changed(update: RecordUpdate): void {
    for (const { session } of this.#links) session.changed(update);
    this.#flushSoon();
  }

  /** All are over at once. */
  endAll(reason: string): void {
    for (const link of [...this.#links]) this.#end(link, reason);
  }

  /** Says what is left to say, and goodbye. */
  stop(): void {
    for (const link of this.#links) this.#flush(link);
    for (const { end } of this.#links) end.close();
  }

  /** @param wanted the member that was called; undefined where this server was. */
  open(end: WireEnd, wanted: Member | undefined): void {
    const session = this.#replication(
      {
        hello: () => ({
          protocol: OWN_PROTOCOL,
          member: memberToWire(this.#server.member),
          members: this.#server.membership.facts().map(factToWire),
          relaySecret: this.#server.relaySecret,
        }),
        snapshot: () => this.#server.introducer.snapshot(),
        seq: () => this.#server.introducer.seq,
        ownDigest: () => this.#server.table.digestOf(this.#server.id),
        digestOf: (owner) => this.#server.table.digestOf(owner),
        unreachable: () => this.#server.membership.unreachable(this.#server.now()),
      },
      this.#server.now(),
      wanted?.id,
    );
    const link: Link = { session, end, wanted, timer: undefined, over: false };
    this.#links.add(link);
    end.onFrame = (bytes) => {
      if (link.over) return;
      this.#apply(link, session.receive(ReplicationFrame.decode(bytes), this.#server.now()));
      this.#flushSoon();
    };
    end.onClose = (reason) => this.#end(link, reason);
    this.#flush(link);
  }

  #apply(link: Link, effects: readonly ReplicationEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'close') {
        this.#end(link, effect.reason);
        return;
      }
      if (effect.type === 'linked' && !this.#identify(link, effect.member)) return;
    }
    const owner = link.session.other?.id;
    if (owner !== undefined) this.#handlers.effects(owner, effects);
  }

  /** @returns whether the link goes on. */
  #identify(link: Link, member: Member): boolean {
    const { wanted } = link;
    if (wanted !== undefined && wanted.id !== member.id) {
      this.#end(link, 'another server has its address');
      this.#handlers.displaced(wanted);
      return false;
    }
    const before = this.#byMember.get(member.id);
    this.#byMember.set(member.id, link);
    this.#server.say(`is linked to ${member.id.slice(0, 4)}`);
    if (before !== undefined) this.#end(before, 'there is a newer one');
    return true;
  }

  #end(link: Link, reason: string): void {
    if (link.over) return;
    link.over = true;
    link.timer?.cancel();
    this.#links.delete(link);
    link.end.close();
    const { session, wanted } = link;
    const id = session.other?.id;
    if (id !== undefined && this.#byMember.get(id) === link) {
      this.#server.say(`has lost ${id.slice(0, 4)}: ${reason}`);
      this.#byMember.delete(id);
      this.#handlers.lost(id, session.lastHeardAt, reason);
    } else if (wanted !== undefined && !this.#byMember.has(wanted.id)) {
      this.#handlers.unreached(wanted.id);
    }
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#server.setTimer(0, () => {
      this.#flushing = false;
      for (const link of [...this.#links]) this.#flush(link);
    });
  }

  #flush(link: Link): void {
    if (link.over) return;
    for (let frame; (frame = link.session.next(this.#server.now())) !== undefined;) {
      const lost =
        frame.kind?.$case === 'updates' && this.#server.network.chance(this.#server.losesUpdates);
      if (lost) this.#server.say('LOSES an update');
      // Through the bytes of the wire, as it is in truth.
      else link.end.send(ReplicationFrame.encode(frame).finish());
    }
    link.timer?.cancel();
    const delayMs = Math.max(20, link.session.nextDeadline() - this.#server.now());
    link.timer = this.#server.setTimer(delayMs, () => {
      this.#apply(link, link.session.tick(this.#server.now()));
      this.#flush(link);
    });
  }
}

/** Where a server is called. */
export function clusterAddress(member: Member): string {
  const [address] = member.clusterAddresses;
  return address === undefined ? '' : formatAddress(address);
}
