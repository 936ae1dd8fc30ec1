import { MAX_TEXT_BYTES } from '../chat/session-limits.ts';

/** One line of input, or why it is none that can be sent; `number` counts all lines from 1. */
export type InputLine =
  | { readonly kind: 'line'; readonly number: number; readonly text: string }
  | { readonly kind: 'not-utf8'; readonly number: number }
  | { readonly kind: 'too-long'; readonly number: number };

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/**
 * Cuts bytes into lines of UTF-8, ended by LF or CR LF, the last one also by the end. Holds at most
 * one line's bytes, and nothing of a line that is too long.
 */
export class LineSplitter {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #chunks: Uint8Array[] = [];
  #length = 0;
  #number = 0;

  /** Takes the input's next bytes. @returns the lines they complete. */
  push(chunk: Uint8Array): InputLine[] {
    const lines: InputLine[] = [];
    let from = 0;
    for (;;) {
      const at = chunk.indexOf(NEWLINE, from);
      this.#keep(chunk.subarray(from, at === -1 ? chunk.length : at));
      if (at === -1) return lines;
      lines.push(this.#take());
      from = at + 1;
    }
  }

  /** The input has ended. @returns what came after the last newline, if anything did. */
  end(): InputLine[] {
    return this.#length === 0 ? [] : [this.#take()];
  }

  #keep(part: Uint8Array): void {
    this.#length += part.length;
    // One byte more than a message: the CR of a CR LF.
    if (this.#length > MAX_TEXT_BYTES + 1) this.#chunks = [];
    // A copy: the stream may use its memory again.
    else if (part.length > 0) this.#chunks.push(part.slice());
  }

  #take(): InputLine {
    const number = ++this.#number;
    const length = this.#length;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#length = 0;
    const bytes = joined.at(-1) === RETURN ? joined.subarray(0, -1) : joined;
    if (length > MAX_TEXT_BYTES + 1 || bytes.length > MAX_TEXT_BYTES) {
      return { kind: 'too-long', number };
    }
    try {
      return { kind: 'line', number, text: this.#decoder.decode(bytes) };
    } catch {
      return { kind: 'not-utf8', number };
    }
  }
}

/** The lines of a stream; it is read no faster than they are taken. */
export async function* inputLines(
  stream: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<InputLine> {
  const splitter = new LineSplitter();
  for await (const chunk of stream) {
    yield* splitter.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  }
  yield* splitter.end();
}
