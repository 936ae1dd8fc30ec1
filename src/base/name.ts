import { ChattyError } from './errors.ts';

/** The longest name, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 64;

export type NameFault = 'empty' | 'too-long' | 'control-characters' | 'not-unicode';

/** What a user is told about a name that cannot be one. */
const NAME_FAULTS: Readonly<Record<NameFault, string>> = {
  empty: 'it is empty',
  'too-long': `it is longer than ${MAX_NAME_BYTES} bytes of UTF-8`,
  'control-characters': 'it holds control or invisible direction characters',
  'not-unicode': 'it holds half a surrogate pair, which is not Unicode text',
};

// C0, C1 and DEL; line and paragraph separators; and everything that shows nothing itself (UAX #44,
// Default_Ignorable_Code_Point: bidirectional controls, zero-width characters, fillers, tags), with
// which one name can be made to look like another. Only an emoji may have its variation selector.
// Private use and noncharacters stay out of it: they show as boxes, which deceives nobody.
const CONTROL =
  /[\p{Cc}\u2028\u2029]|(?!\ufe0f)\p{Default_Ignorable_Code_Point}|(?<!\p{Extended_Pictographic})\ufe0f/u;

/**
 * The one form of a name: NFC, without surrounding white space.
 * @returns the name, or what is wrong with it.
 */
export function normaliseName(text: string): { name: string } | { fault: NameFault } {
  if (!text.isWellFormed()) return { fault: 'not-unicode' };
  if (CONTROL.test(text)) return { fault: 'control-characters' };
  const name = text.normalize('NFC').trim();
  if (name === '') return { fault: 'empty' };
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return { fault: 'too-long' };
  return { name };
}

/**
 * As `normaliseName`, for what a user typed.
 * @param whose for the sentence: "your name", "the friend's name".
 * @throws ChattyError CHATTY_USAGE that says what is wrong with it.
 */
export function requireName(text: string, whose: string): string {
  const result = normaliseName(text);
  if ('name' in result) return result.name;
  throw new ChattyError('CHATTY_USAGE', `${whose} cannot be used: ${NAME_FAULTS[result.fault]}`, {
    hint: `A name has 1 to ${MAX_NAME_BYTES} bytes of Unicode text without control characters.`,
  });
}

/** Whether `text` is a name already in its one form; what arrives from the wire must be. */
export function isNormalName(text: string): boolean {
  const result = normaliseName(text);
  return 'name' in result && result.name === text;
}

/**
 * `text` fit to be shown on a terminal: escape sequences and control characters of others must
 * neither move the cursor nor recolour, retitle or turn anything around. Tabs stay; every other
 * control character and bidirectional control becomes U+FFFD.
 */
export function stripControl(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (character) =>
      character === '\t' ? character : '\ufffd',
    );
}
