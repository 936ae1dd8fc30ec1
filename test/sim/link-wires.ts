import type { Clock } from '../../src/base/clock.ts';
import type { ConnectionId } from '../../src/peer/link-events.ts';
import type { SessionId } from '../../src/rpc/generated/chatty/v1/common.ts';
import type { End, Process, Sent } from './link-process.ts';

/** As `src/quic` has it. */
export const IDLE_MS = 30_000;

/** The network that connections lie on, and who hears of them. */
export interface LinkNet {
  readonly clock: Clock;
  readonly linkUp: boolean;
  /** Nothing takes long. */
  readonly swift: boolean;
  below(bound: number): number;
  between(lowMs: number, highMs: number): number;
  /** Whether something unusual happens. */
  mishap(percent: number): boolean;
  after(delayMs: number, act: () => void): void;
  note(text: string): void;
  receive(to: End, sent: Sent): void;
  /** An end has closed, and its machine is to be told. */
  closed(end: End): void;
}

/** QUIC connections, each of two ends: what is sent over them arrives in order, late, or not at all. */
export class LinkWires {
  readonly #net: LinkNet;

  constructor(net: LinkNet) {
    this.#net = net;
  }

  /** A connection is there, for this side. */
  newEnd(process: Process, label: string, to: SessionId | undefined): End {
    const end: End = {
      process,
      id: ++process.lastId,
      label,
      dialledHere: to !== undefined,
      to,
      open: true,
      peer: undefined,
      inFlight: [],
      lastArrivalAt: 0,
    };
    process.ends.set(end.id, end);
    this.#net.note(`${process.label}    ${label} is its connection ${end.id}`);
    return end;
  }

  /** One that must be open still. */
  openEnd(process: Process, id: ConnectionId): End {
    const end = process.ends.get(id);
    if (end?.open !== true) throw new Error(`${process.label} uses ${id}, which is closed`);
    return end;
  }

  send(process: Process, id: ConnectionId, sent: Sent): void {
    const end = this.openEnd(process, id);
    end.inFlight.push(sent);
    this.#deliverSoon(end);
  }

  /** What is in flight arrives in order, each after a delay of its own, and waits for the network. */
  #deliverSoon(from: End): void {
    const delayMs = this.#net.mishap(5) ? this.#net.between(200, 2_000) : this.#net.between(1, 80);
    const at = Math.max(from.lastArrivalAt, this.#net.clock.now() + delayMs);
    from.lastArrivalAt = at;
    this.#net.after(at - this.#net.clock.now(), () => {
      const to = from.peer;
      if (to?.open !== true || to.process.dead || !this.#net.linkUp) return;
      const sent = from.inFlight.shift();
      if (sent !== undefined) this.#net.receive(to, sent);
    });
  }

  /** The other side is there: what was sent to it goes its way. */
  deliverAll(from: End): void {
    for (let count = from.inFlight.length; count > 0; count--) this.#deliverSoon(from);
  }

  /** One end closes; its own machine is told, unless that did it. */
  close(end: End, isTold = true): void {
    if (!end.open) return;
    end.open = false;
    this.abandon(end);
    if (isTold) this.#net.closed(end);
  }

  /** What a closed end leaves behind: some of what it sent still arrives, and the other hears, or not. */
  abandon(end: End): void {
    end.inFlight.length = this.#net.below(end.inFlight.length + 1);
    const heard = !this.#net.mishap(30);
    const noticeMs = heard ? this.#net.between(1, this.#net.swift ? 80 : 1_500) : IDLE_MS;
    const notice = (): void => {
      const to = end.peer;
      if (to?.open !== true) return;
      if (heard && !this.#net.linkUp) this.#net.after(IDLE_MS, notice);
      else this.close(to);
    };
    this.#net.after(Math.max(noticeMs, end.lastArrivalAt - this.#net.clock.now()), notice);
  }
}
