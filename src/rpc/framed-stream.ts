import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder } from './frames.ts';

/** How one kind of message becomes bytes and back; ts-proto's message objects have this shape. */
interface MessageCodec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

export interface FramedStreamOptions<Incoming, Outgoing> {
  readonly stream: Duplex;
  readonly incoming: MessageCodec<Incoming>;
  readonly outgoing: MessageCodec<Outgoing>;
  readonly maxFrameBytes: number;
  /** A reader that is so far behind does not read at all: the stream is given up. */
  readonly maxQueuedBytes: number;
  onMessage(message: Incoming): void;
  /** The stream has ended or failed, or carried what is no message; called once. */
  onEnd(reason: string): void;
}

/** Messages on a stream, each a frame (see `frames.ts`). */
export class FramedStream<Incoming, Outgoing> {
  readonly #options: FramedStreamOptions<Incoming, Outgoing>;
  #ended = false;

  constructor(options: FramedStreamOptions<Incoming, Outgoing>) {
    this.#options = options;
    const { stream } = options;
    const decoder = new FrameDecoder(options.maxFrameBytes);
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const frame of decoder.push(chunk)) {
          if (this.#ended) return;
          options.onMessage(options.incoming.decode(frame));
        }
      } catch (error) {
        this.#end(`it sent what is no message (${String(error)})`);
        stream.destroy();
      }
    });
    stream.on('end', () => this.#end('the stream was ended'));
    stream.on('error', (error: Error) => this.#end(error.message));
    stream.on('close', () => this.#end('the stream was closed'));
  }

  /** Queues a message. Once the stream has ended, it is lost. */
  send(message: Outgoing): void {
    const { stream, outgoing, maxQueuedBytes } = this.#options;
    if (this.#ended) return;
    stream.write(encodeFrame(outgoing.encode(message).finish()));
    if (stream.writableLength <= maxQueuedBytes) return;
    this.#end(`it reads nothing: ${stream.writableLength} bytes wait for it`);
    stream.destroy();
  }

  /** Ends our direction after what is queued. */
  end(): void {
    this.#options.stream.end();
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.onEnd(reason);
  }
}
