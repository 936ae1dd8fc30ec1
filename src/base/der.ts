/*
 * Distinguished Encoding Rules (X.690), as far as certificates of ours need them: every value is
 * a tag byte, its length, and its content.
 */

const TAGS = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** A value of a type of its own. */
export function der(type: keyof typeof TAGS, ...content: readonly Uint8Array[]): Buffer {
  return tagged(TAGS[type], content);
}

export function derText(type: keyof typeof TAGS, text: string): Buffer {
  return der(type, Buffer.from(text));
}

/** A value whose type the context tells: `[number]`, of parts or of plain bytes. */
export function derContext(number: number, form: 'parts' | 'bytes', content: Uint8Array): Buffer {
  return tagged((form === 'parts' ? 0xa0 : 0x80) + number, [content]);
}

/** An object identifier written `1.3.101.112`. */
export function derIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    // Seven bits a byte, the highest first; all but the last have the eighth bit set.
    const groups = [arc & 0x7f];
    for (let high = arc >> 7; high > 0; high >>= 7) groups.unshift((high & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der('objectIdentifier', Uint8Array.from(bytes));
}

/** `bytes` as a bit string, of which the last `unused` bits do not count. */
export function derBits(bytes: Uint8Array, unused = 0): Buffer {
  return der('bitString', Uint8Array.of(unused), bytes);
}

function tagged(tag: number, content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const length = [body.length];
  if (body.length >= 0x80) {
    length.length = 0;
    for (let rest = body.length; rest > 0; rest >>= 8) length.unshift(rest & 0xff);
    length.unshift(0x80 | length.length);
  }
  return Buffer.concat([Uint8Array.of(tag, ...length), body]);
}
