import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isNormalName,
  type NameFault,
  normaliseName,
  requireName,
  stripControl,
} from '../../../src/base/name.ts';

describe('a name', () => {
  it.each([
    ['anna', 'anna', 'plain'],
    ['  anna\u00a0\t'.replace('\t', ''), 'anna', 'white space around it'],
    ['anna maria', 'anna maria', 'a space within it'],
    ['Zoe\u0308', 'Zo\u00eb', 'decomposed, becomes NFC'],
    ['\u212b', '\u00c5', 'a singleton of NFC: the \u00e5ngstr\u00f6m sign'],
    ['\ud55c\uae00', '\ud55c\uae00', 'Hangul'],
    ['\u1112\u1161\u11ab', '\ud55c', 'Hangul in parts'],
    ['\u05d0\u05e0\u05d4', '\u05d0\u05e0\u05d4', 'written from right to left'],
    ['\u{1f600}', '\u{1f600}', 'outside the basic plane'],
    ['\u2764\ufe0f', '\u2764\ufe0f', 'an emoji with its variation selector'],
    ['a'.repeat(64), 'a'.repeat(64), '64 bytes'],
    ['\u00e4'.repeat(32), '\u00e4'.repeat(32), '64 bytes in 32 letters'],
    [`${' '.repeat(100)}a`, 'a', 'long only with its white space'],
    ['--help', '--help', 'what looks like an option'],
    ['../../etc/passwd', '../../etc/passwd', 'what looks like a path'],
  ])('%j becomes %j (%s)', (text, name) => {
    expect(normaliseName(text)).toEqual({ name });
    expect(isNormalName(name)).toBe(true);
    expect(isNormalName(text)).toBe(text === name);
    expect(requireName(text, 'your name')).toBe(name);
  });

  it.each<[NameFault, string, string]>([
    ['empty', '', 'nothing'],
    ['empty', ' \u3000\u00a0', 'white space only'],
    ['too-long', 'a'.repeat(65), '65 bytes'],
    ['too-long', '\u00e4'.repeat(33), '66 bytes in 33 letters'],
    ['too-long', '\u{1f600}'.repeat(17), '68 bytes in 17 characters'],
    ['control-characters', 'an\u0000na', 'NUL'],
    ['control-characters', 'anna\n', 'a line break at the end'],
    ['control-characters', 'an\tna', 'a tab'],
    ['control-characters', '\u001b[31manna', 'an escape sequence'],
    ['control-characters', '\u009b31manna', 'an escape sequence that begins in C1'],
    ['control-characters', 'anna\u007f', 'DEL'],
    ['control-characters', 'anna\u0085', 'NEL'],
    ['control-characters', 'an\u200bna', 'a zero-width space'],
    ['control-characters', 'an\u200dna', 'a zero-width joiner'],
    ['control-characters', 'an\u2060na', 'a word joiner'],
    ['control-characters', 'an\u00adna', 'a soft hyphen'],
    ['control-characters', 'an\u034fna', 'a grapheme joiner'],
    ['control-characters', 'an\u3164na', 'a Hangul filler'],
    ['control-characters', 'anna\ufe0f', 'a variation selector that selects nothing'],
    ['control-characters', 'anna\u{e0061}', 'a tag character'],
    ['control-characters', '\u202eanna', 'an override of direction'],
    ['control-characters', '\u2066anna\u2069', 'an isolate'],
    ['control-characters', 'anna\u061c', 'an Arabic letter mark'],
    ['control-characters', 'anna\u2028', 'a line separator'],
    ['control-characters', '\ufeffanna', 'a byte order mark'],
    ['not-unicode', 'anna\ud800', 'half a surrogate pair'],
    ['not-unicode', '\udc00anna', 'the other half'],
  ])('%s: %j (%s)', (fault, text) => {
    expect(normaliseName(text)).toEqual({ fault });
    expect(isNormalName(text)).toBe(false);
    expect(() => requireName(text, 'your name')).toThrow(
      expect.objectContaining({ code: 'CHATTY_USAGE', exitCode: 64 }),
    );
  });

  it('stays what it is when it is made normal again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const result = normaliseName(text);
        if ('name' in result) expect(isNormalName(result.name)).toBe(true);
      }),
    );
  });
});

describe('text for a terminal', () => {
  it.each([
    ['plain text, \u00e4 \u{1f600} \u05d0', 'plain text, \u00e4 \u{1f600} \u05d0', 'is left alone'],
    ['a\tb', 'a\tb', 'tabs stay'],
    ['\u001b[2J', '\ufffd[2J', 'clears no screen'],
    ['\u001b]0;root\u0007', '\ufffd]0;root\ufffd', 'sets no title'],
    ['\u001b]8;;http://x\u001b\\', '\ufffd]8;;http://x\ufffd\\', 'makes no link'],
    ['\u009b2J', '\ufffd2J', 'nor with C1 controls'],
    ['a\rb', 'a\ufffdb', 'writes over nothing'],
    ['a\bb', 'a\ufffdb', 'takes nothing back'],
    ['a\nb\r\nc\u0085d\u2028e', 'a\ufffdb\ufffd\ufffdc\ufffdd\ufffde', 'begins no line of its own'],
    ['\u202eabc\u2066\u200f\u061c', '\ufffdabc\ufffd\ufffd\ufffd', 'turns nothing around'],
    ['\ud83d', '\ufffd', 'holds no half surrogate pair'],
  ])('%j becomes %j: %s', (text, shown) => {
    expect(stripControl(text)).toBe(shown);
  });

  it('never holds a control character but tabs', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(stripControl(text)).not.toMatch(/[^\P{Cc}\t]|[\u202a-\u202e\u2066-\u2069]/u);
      }),
    );
  });
});
