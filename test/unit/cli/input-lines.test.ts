import fc from 'fast-check';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type InputLine, inputLines, LineSplitter } from '../../../src/cli/input-lines.ts';

const all = (...chunks: (string | Uint8Array)[]): InputLine[] => {
  const splitter = new LineSplitter();
  return [...chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk))), ...splitter.end()];
};
const texts = (...lines: string[]): InputLine[] =>
  lines.map((text, index) => ({ kind: 'line', number: index + 1, text }));

describe('input', () => {
  it('is cut into lines at LF and CR LF, wherever the chunks end', () => {
    expect(all('one\ntwo\r\nth', 'ree\r', '\n')).toEqual(texts('one', 'two', 'three'));
  });

  it('has a last line without a newline', () => {
    expect(all('one\ntwo')).toEqual(texts('one', 'two'));
    expect(all('one\n')).toEqual(texts('one'));
    expect(all('')).toEqual([]);
  });

  it('has empty lines, and keeps white space and carriage returns within lines', () => {
    expect(all('\n a \rb\t\n\r\n')).toEqual(texts('', ' a \rb\t', ''));
  });

  it('is UTF-8, also where a character is cut in two', () => {
    const bytes = Buffer.from('ä😀\n');
    const chunks = [...bytes].map((byte) => Uint8Array.of(byte));
    expect(all(...chunks)).toEqual(texts('ä😀'));
  });

  it('keeps a byte order mark: it is what was written', () => {
    expect(all('\ufeffhi')).toEqual(texts('\ufeffhi'));
  });

  it('goes on after a line that is not UTF-8, which counts as one', () => {
    expect(all('one\n', Uint8Array.of(0x62, 0xff, 0x0a), 'three\n')).toEqual([
      { kind: 'line', number: 1, text: 'one' },
      { kind: 'not-utf8', number: 2 },
      { kind: 'line', number: 3, text: 'three' },
    ]);
  });

  it('takes a line of 64 KiB, with either newline, and skips one of a byte more', () => {
    const longest = 'x'.repeat(65_536);
    expect(all(`${longest}\n${longest}\r\n${longest}`)).toEqual(texts(longest, longest, longest));
    expect(all(`${longest}y\nnext`)).toEqual([
      { kind: 'too-long', number: 1 },
      { kind: 'line', number: 2, text: 'next' },
    ]);
    expect(all(`${longest}y\r\n`)).toEqual([{ kind: 'too-long', number: 1 }]);
    expect(all(`${longest}yz`)).toEqual([{ kind: 'too-long', number: 1 }]);
  });

  it('holds nothing of a line that is too long, however long it is', () => {
    const splitter = new LineSplitter();
    const chunk = Buffer.alloc(65_536, 'x');
    for (let i = 0; i < 2_000; i++) expect(splitter.push(chunk)).toEqual([]);
    expect(splitter.push(Buffer.from('\nok\n'))).toEqual([
      { kind: 'too-long', number: 1 },
      { kind: 'line', number: 2, text: 'ok' },
    ]);
  });

  it('is the same lines however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, ''))),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (lines, cuts) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
          const chunks: Uint8Array[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = cuts[turn % cuts.length] ?? 1;
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(all(...chunks)).toEqual(texts(...lines));
        },
      ),
    );
  });

  it('is read no faster than lines are taken', async () => {
    let read = 0;
    const stream = new Readable({
      highWaterMark: 1,
      read() {
        read++;
        this.push(Buffer.from('line\n'));
      },
    });
    const lines = inputLines(stream as AsyncIterable<Uint8Array>);
    await lines.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(read).toBeLessThan(10);
    await lines.return(undefined);
    expect(stream.destroyed).toBe(true);
  });
});
