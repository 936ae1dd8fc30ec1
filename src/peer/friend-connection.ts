import type { QuicConnection, QuicStream } from '../quic/index.ts';
import { FramedStream } from '../rpc/framed-stream.ts';
import { MAX_FRIEND_FRAME_BYTES } from '../rpc/frames.ts';
import { PeerFrame } from '../rpc/generated/chatty/v1/peer.ts';

/** Twice what may be unacknowledged: honest friends stay below, acknowledgements included. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

export interface FriendConnectionEvents {
  frame(frame: NonNullable<PeerFrame['kind']>): void;
  closed(): void;
}

/** One QUIC connection to a friend with the one stream that carries frames. */
export class FriendConnection {
  readonly quic: QuicConnection;
  readonly #events: FriendConnectionEvents;
  #frames: FramedStream<PeerFrame, PeerFrame> | undefined;
  #closed = false;

  constructor(quic: QuicConnection, events: FriendConnectionEvents) {
    this.quic = quic;
    this.#events = events;
    if (quic.role === 'dialer') this.#use(quic.openStream());
    quic.onStream = (stream) => {
      // The dialer opens the one stream there is; any other is not of this protocol.
      if (quic.role === 'acceptor' && this.#frames === undefined) this.#use(stream);
      else stream.destroy();
    };
    void quic.closed.then(() => this.#end());
  }

  /**
   * Queues a frame; before the stream is there, it is lost. What waits for acknowledgement bounds what
   * can be queued.
   */
  send(kind: NonNullable<PeerFrame['kind']>): void {
    this.#frames?.send({ kind });
  }

  close(reason: string): void {
    // Frames sent in this turn go out before the close.
    setImmediate(() => this.quic.close(0, reason));
    this.#closed = true;
  }

  #use(stream: QuicStream): void {
    this.#frames = new FramedStream<PeerFrame, PeerFrame>({
      stream,
      incoming: PeerFrame,
      outgoing: PeerFrame,
      maxFrameBytes: MAX_FRIEND_FRAME_BYTES,
      maxQueuedBytes: MAX_QUEUED_BYTES,
      onMessage: ({ kind }) => {
        if (kind !== undefined && !this.#closed) this.#events.frame(kind);
      },
      onEnd: (reason) => {
        this.quic.close(0, reason);
        this.#end();
      },
    });
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.closed();
  }
}
