import type { Address } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { asChattyError, ChattyError, type ErrorCode, ERRORS } from '../base/errors.ts';
import { stripControl } from '../base/name.ts';
import type { QuicEndpoint } from '../quic/index.ts';
import { FramedStream } from '../rpc/framed-stream.ts';
import { MAX_RENDEZVOUS_FRAME_BYTES } from '../rpc/frames.ts';
import type { Endpoint, Fault, SessionId, Wish } from '../rpc/generated/chatty/v1/common.ts';
import type { Server } from '../rpc/generated/chatty/v1/loadbalancer.ts';
import {
  type FirstFlight,
  type MatchFound,
  PeerToServer,
  ServerToPeer,
  type WishConflict,
} from '../rpc/generated/chatty/v1/rendezvous.ts';
import { negotiate, OWN_PROTOCOL } from '../rpc/protocol.ts';
import { addressFromWire } from '../rpc/wire-address.ts';
import { dialServer, type ServerLine } from './server-dial.ts';
import type { Tunnel } from './tunnel.ts';

/** How long the answer to the hello may take. */
const ANSWER_MS = 3_000;

/** What a peer says of itself to every server it registers with. */
export interface Presence {
  readonly name: string;
  readonly session: SessionId;
  endpoint(): Endpoint;
  wishes(): readonly Wish[];
  /** What to send ahead to friends wished for. */
  firstFlights(): Promise<readonly FirstFlight[]>;
}

export interface RegistrationEvents {
  registered(observed: Address | undefined): void;
  match(found: MatchFound): void;
  conflict(conflict: WishConflict): void;
  /** A datagram came by a tunnel; it is the callee's to change. */
  tunnelled(datagram: Uint8Array, tunnel: Tunnel): void;
  /** Another server may be gone: it is to be asked for a sign of life within so long. */
  doubt(server: string, withinMs: number): void;
  /** The server asks to be left; the registration stands until then. */
  moving(): void;
  /** The registration is over or was never made; called once, last. */
  ended(error: ChattyError, retryAfterMs: number | undefined): void;
}

/** A registration with one rendezvous server: one QUIC connection with one control stream. */
export class Registration {
  readonly server: Server;
  readonly #endpoint: QuicEndpoint;
  readonly #clock: Clock;
  readonly #presence: Presence;
  readonly #events: RegistrationEvents;
  readonly #abort = new AbortController();
  readonly #udpOnly: boolean;
  #line: ServerLine | undefined;
  #frames: FramedStream<ServerToPeer, PeerToServer> | undefined;
  #answerTimer: Timer | undefined;
  #pingTimer: Timer | undefined;
  #ended = false;
  #welcomed = false;

  constructor(
    server: Server,
    options: {
      readonly endpoint: QuicEndpoint;
      /** No tunnel is wanted. */
      readonly udpOnly: boolean;
      readonly clock: Clock;
      readonly presence: Presence;
      readonly events: RegistrationEvents;
    },
  ) {
    this.server = server;
    this.#endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#presence = options.presence;
    this.#events = options.events;
    this.#udpOnly = options.udpOnly;
    this.#open().catch((error: unknown) => this.#end(asChattyError(error)));
  }

  /** The server's address that the connection goes to. */
  get remote(): Address | undefined {
    return this.#line?.remote;
  }

  /** What the connection lies on where the network lets no UDP through. */
  get tunnel(): Tunnel | undefined {
    return this.#line?.tunnel;
  }

  wish(wish: Wish, withdraw: boolean): void {
    this.#send({ $case: 'wish', value: { wish, withdraw } });
  }

  /** Asks the server for a sign of life, which shows it where we are now. */
  ping(): void {
    this.#line?.connection.ping();
  }

  /** Does so after a while; what is asked again meanwhile is asked once. */
  pingAfter(delayMs: number): void {
    this.#pingTimer ??= this.#clock.setTimer(delayMs, () => {
      this.#pingTimer = undefined;
      this.ping();
    });
  }

  /** Whether nothing has come from the server since it was last asked for a sign of life. */
  get isAwaited(): boolean {
    return this.#line?.connection.isAwaited ?? false;
  }

  /** @param stunCookies prove where this peer is seen, beyond where the connection comes from. */
  updateEndpoint(stunCookies: readonly Uint8Array[]): void {
    const value = {
      endpoint: this.#presence.endpoint(),
      stunCookies: stunCookies.map((cookie) => Buffer.from(cookie)),
    };
    this.#send({ $case: 'endpoint', value });
  }

  /** Leaves: the server forgets this peer at once. */
  leave(): void {
    this.#send({ $case: 'leave', value: {} });
    this.#frames?.end();
    this.#end(new ChattyError('CHATTY_TRANSPORT', 'left the server'));
  }

  async #open(): Promise<void> {
    const line = await dialServer(this.server, {
      endpoint: this.#endpoint,
      clock: this.#clock,
      signal: this.#abort.signal,
      udpOnly: this.#udpOnly,
      received: (datagram, tunnel) => this.#events.tunnelled(datagram, tunnel),
    });
    const { connection } = line;
    const firstFlights = await this.#presence.firstFlights();
    if (this.#ended) {
      connection.close();
      return;
    }
    this.#line = line;
    void connection.closed.then(({ reason }) =>
      this.#end(new ChattyError('CHATTY_TRANSPORT', `the server's connection ended: ${reason}`)),
    );
    this.#frames = new FramedStream<ServerToPeer, PeerToServer>({
      stream: connection.openStream(),
      incoming: ServerToPeer,
      outgoing: PeerToServer,
      maxFrameBytes: MAX_RENDEZVOUS_FRAME_BYTES,
      maxQueuedBytes: 16 * MAX_RENDEZVOUS_FRAME_BYTES,
      onMessage: (message) => this.#receive(message),
      onEnd: (reason) => this.#end(new ChattyError('CHATTY_TRANSPORT', reason)),
    });
    this.#answerTimer = this.#clock.setTimer(ANSWER_MS, () =>
      this.#end(new ChattyError('CHATTY_TRANSPORT', 'the server did not answer the hello')),
    );
    this.#send({
      $case: 'hello',
      value: {
        protocol: OWN_PROTOCOL,
        name: this.#presence.name,
        session: this.#presence.session,
        endpoint: this.#presence.endpoint(),
        wishes: [...this.#presence.wishes()],
        stunCookies: [],
        firstFlights: [...firstFlights],
      },
    });
  }

  #receive(message: ServerToPeer): void {
    const kind = message.kind;
    switch (kind?.$case) {
      case 'welcome': {
        const agreed = negotiate(kind.value.protocol, 'server');
        if ('fault' in agreed) {
          this.#end(new ChattyError('CHATTY_VERSION', agreed.fault.message));
          return;
        }
        if (this.#welcomed) return;
        this.#welcomed = true;
        this.#answerTimer?.cancel();
        this.#events.registered(addressFromWire(kind.value.observed));
        return;
      }
      case 'match':
        this.#events.match(kind.value);
        return;
      case 'wishConflict':
        this.#events.conflict(kind.value);
        return;
      case 'serverDoubt':
        this.#events.doubt(kind.value.serverId, kind.value.withinMs);
        return;
      case 'move':
        this.#events.moving();
        return;
      case 'error':
        this.#end(errorFromFault(kind.value), kind.value.retryAfterMs);
        return;
      case 'wishAccepted':
      case undefined:
    }
  }

  #send(kind: NonNullable<PeerToServer['kind']>): void {
    this.#frames?.send({ kind });
  }

  #end(error: ChattyError, retryAfterMs?: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#answerTimer?.cancel();
    this.#pingTimer?.cancel();
    this.#abort.abort(error);
    const connection = this.#line?.connection;
    // What was queued in this turn (a leave) goes out before the close.
    if (connection !== undefined) setImmediate(() => connection.close());
    this.#events.ended(error, retryAfterMs);
  }
}

/** A fault from the wire as an error of ours; its text is a stranger's. */
export function errorFromFault(fault: Fault): ChattyError {
  const known = Object.hasOwn(ERRORS, fault.code);
  return new ChattyError(
    known ? (fault.code as ErrorCode) : 'CHATTY_PROTOCOL',
    stripControl(known ? fault.message : `${fault.code}: ${fault.message}`).slice(0, 500),
  );
}
