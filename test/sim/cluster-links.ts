import { formatAddress } from '../../src/base/address.ts';
import { factToWire, type Member, memberToWire } from '../../src/rendezvous/member.ts';
import type { RecordUpdate } from '../../src/rendezvous/record.ts';
import {
  type ReplicationHandlers,
  type ReplicationLink,
  ReplicationLinks,
} from '../../src/rendezvous/replication-links.ts';
import { ReplicationFrame } from '../../src/rpc/generated/chatty/v1/replication.ts';
import { OWN_PROTOCOL } from '../../src/rpc/protocol.ts';
import type { Parts } from './cluster-parts.ts';
import type { SimServer } from './cluster-server.ts';
import type { WireEnd } from './cluster-wire.ts';

const DIAL_WITHIN_MS = 5_000;

interface Link extends ReplicationLink {
  readonly end: WireEnd;
}

/** The streams of a server to the others, over the network of the simulation. */
export class SimLinks {
  readonly #server: SimServer;
  readonly #replication: Parts['replication'];
  readonly #handlers: ReplicationHandlers;
  readonly #links: ReplicationLinks<Link>;
  #flushing = false;

  constructor(server: SimServer, replication: Parts['replication'], handlers: ReplicationHandlers) {
    this.#server = server;
    this.#replication = replication;
    this.#handlers = handlers;
    this.#links = new ReplicationLinks({
      ...handlers,
      effects: (owner, effects) => {
        if (effects.some(({ type }) => type === 'linked')) {
          server.say(`is linked to ${owner.slice(0, 4)}`);
        }
        handlers.effects(owner, effects);
      },
      unlinked: (id, lastHeardAt, reason) => {
        if (lastHeardAt !== undefined) server.say(`has lost ${id.slice(0, 4)}: ${reason}`);
        handlers.unlinked(id, lastHeardAt, reason);
      },
    });
  }

  has(id: string): boolean {
    return this.#links.with(id) !== undefined;
  }

  dial(member: Member): void {
    const { network } = this.#server;
    network.open(this.#server, clusterAddress(member), 'tcp', DIAL_WITHIN_MS, {
      opened: (end) => this.open(end, member),
      failed: () => this.#handlers.unlinked(member.id, undefined, 'it was not reached'),
    });
  }

  /** Everybody is told of a change to what this server owns. */
  changed(update: RecordUpdate): void {
    for (const { session } of this.#links.all) session.changed(update);
    this.#flushSoon();
  }

  /** All are over at once. */
  endAll(reason: string): void {
    for (const link of this.#links.all) this.#links.end(link, reason);
  }

  /** Says what is left to say, and goodbye. */
  stop(): void {
    for (const link of this.#links.all) this.#flush(link);
    for (const { end } of this.#links.all) end.close();
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
    const link: Link = {
      ...{ session, end, wanted, timer: undefined, over: false },
      hangUp: () => end.close(),
    };
    this.#links.add(link);
    end.onFrame = (bytes) => {
      if (link.over) return;
      this.#links.apply(link, session.receive(ReplicationFrame.decode(bytes), this.#server.now()));
      this.#flushSoon();
    };
    end.onClose = (reason) => this.#links.end(link, reason);
    this.#flush(link);
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#server.setTimer(0, () => {
      this.#flushing = false;
      for (const link of this.#links.all) this.#flush(link);
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
      this.#links.apply(link, link.session.tick(this.#server.now()));
      this.#flush(link);
    });
  }
}

/** Where a server is called. */
export function clusterAddress(member: Member): string {
  const [address] = member.clusterAddresses;
  return address === undefined ? '' : formatAddress(address);
}
