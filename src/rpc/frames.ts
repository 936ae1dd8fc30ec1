/*
 * How protobuf messages travel on a QUIC stream:
 *
 *   0               4
 *   +---------------+------------------------+
 *   | length (u32,  | one message, `length`  |  and the next frame
 *   | big endian)   | bytes                  |
 *   +---------------+------------------------+
 */

/** The largest frame between a peer and a server, in bytes. */
export const MAX_RENDEZVOUS_FRAME_BYTES = 65_536;
/** The largest frame between friends, in bytes: a message of 64 KiB and what surrounds it. */
export const MAX_FRIEND_FRAME_BYTES = 131_072;

/** `message` with its length before it. */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + message.length);
  new DataView(frame.buffer).setUint32(0, message.length);
  frame.set(message, 4);
  return frame;
}

/** Pieces of a frame that wait for the rest; more are joined, as each costs more than its bytes. */
const MAX_PIECES = 64;

/** Cuts a byte stream into frames; holds at most one frame's bytes. */
export class FrameDecoder {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the stream's next bytes.
   * @returns the frames they complete, in order. They may share memory with `chunk`.
   * @throws RangeError if a frame announces more than the maximum; the stream is then useless.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    // Who sends a frame byte by byte must not make us hold a buffer for each.
    if (this.#chunks.length > MAX_PIECES) this.#chunks = [Buffer.concat(this.#chunks)];
    const frames: Uint8Array[] = [];
    while (this.#length >= 4) {
      const header = this.#peek(4);
      const size = new DataView(header.buffer, header.byteOffset, 4).getUint32(0);
      if (size > this.#maxBytes) {
        throw new RangeError(`a frame of ${size} bytes is over the limit of ${this.#maxBytes}`);
      }
      if (this.#length < 4 + size) break;
      const joined = this.#peek(this.#length);
      frames.push(joined.subarray(4, 4 + size));
      const rest = joined.subarray(4 + size);
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#length = rest.length;
    }
    return frames;
  }

  /** The first `count` bytes held, or more, as the first chunk. */
  #peek(count: number): Uint8Array {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= count) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}
