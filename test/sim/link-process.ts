import type { Timer } from '../../src/base/clock.ts';
import { ConversationSession } from '../../src/chat/session.ts';
import type { ConnectionId, FriendGreeting } from '../../src/peer/link-events.ts';
import { LinkMachine } from '../../src/peer/link-machine.ts';
import type { SessionId } from '../../src/rpc/generated/chatty/v1/common.ts';
import type { PeerFrame } from '../../src/rpc/generated/chatty/v1/peer.ts';

export type Who = 0 | 1;

export type Sent =
  | {
      readonly kind: 'hello' | 'welcome';
      readonly generation: number;
      readonly greeting: FriendGreeting;
    }
  | { readonly kind: 'frame'; readonly frame: PeerFrame };

/** One side's end of one QUIC connection. */
export interface End {
  readonly process: Process;
  readonly id: ConnectionId;
  readonly label: string;
  readonly dialledHere: boolean;
  /** To which session, where it was dialled here. */
  readonly to: SessionId | undefined;
  open: boolean;
  /** The other side's, once that side has accepted. */
  peer: End | undefined;
  /** What was sent and has not arrived, oldest first. */
  inFlight: Sent[];
  /** Nothing arrives before what was sent before it. */
  lastArrivalAt: number;
}

/** The paths to one session of the friend's, from one side. */
export interface Paths {
  readonly to: SessionId;
  readonly ufrag: string;
  ready: boolean;
  checkingUntil: number;
}

/** One run of one person's program: the machine, and what `FriendLink` does around it. */
export class Process {
  readonly who: Who;
  readonly session: SessionId;
  /** Tells its credentials from those of others. */
  readonly ufrag: string;
  label: string;
  machine: LinkMachine;
  conversation = new ConversationSession();
  readonly ends = new Map<ConnectionId, End>();
  /** What `connected` with `first` was told for, and what came, in this conversation. */
  readonly firsts = new Set<string>();
  readonly received: string[] = [];
  said = 0;
  readonly #fingerprint: Uint8Array;
  /** To the session in use, and to the one tried beside it. */
  paths: Paths | undefined;
  beside: Paths | undefined;
  timer: Timer | undefined;
  dead = false;
  lastId = 0;

  constructor(who: Who, session: SessionId, fingerprint: Uint8Array) {
    this.who = who;
    this.session = session;
    this.label = `${'AB'.charAt(who)}${session.startedAt}`;
    this.ufrag = this.label;
    this.#fingerprint = fingerprint;
    this.machine = new LinkMachine(fingerprint);
  }

  /** Another conversation in the same session. */
  renew(): void {
    this.label += '+';
    this.machine = new LinkMachine(this.#fingerprint);
    this.conversation = new ConversationSession(this.conversation.memory);
    this.timer?.cancel();
    this.firsts.clear();
    this.received.splice(0);
    this.said = 0;
  }

  get attempts(): readonly Paths[] {
    return [this.paths, this.beside].filter((each) => each !== undefined);
  }

  get openEnds(): readonly End[] {
    return [...this.ends.values()].filter(({ open }) => open);
  }
}
