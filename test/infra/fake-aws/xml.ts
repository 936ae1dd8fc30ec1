/** What an XML element of an AWS answer may hold; an array becomes one element an entry. */
export type Xml =
  string | number | boolean | undefined | readonly Xml[] | { readonly [key: string]: Xml };

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

/**
 * Writes `value` as the element `name`. Entries of an array are elements named `entry` inside it:
 * `item` in EC2's answers, `member` in those of IAM and STS.
 */
export function xml(name: string, value: Xml, entry: string): string {
  if (value === undefined) return '';
  return `<${name}>${content(value, entry)}</${name.split(' ')[0] ?? name}>`;
}

/** Text as it may stand in an element. */
export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);
}

/** What stands in the first element of this name; undefined where there is none. */
export function textOf(document: string, name: string): string | undefined {
  return elements(document, name)[0];
}

/** What stands in each element of this name, in order; elements of one name do not nest here. */
export function elements(document: string, name: string): string[] {
  const pattern = new RegExp(`<${name}(?: [^>]*)?>([\\s\\S]*?)</${name}>`, 'g');
  return [...document.matchAll(pattern)].map((match) => unescape(match[1] ?? ''));
}

function content(value: Exclude<Xml, undefined>, entry: string): string {
  if (isArray(value)) return value.map((one) => xml(entry, one, entry)).join('');
  if (typeof value === 'object') {
    return Object.entries(value)
      .map(([name, one]) => xml(name, one, entry))
      .join('');
  }
  return escape(String(value));
}

function isArray(value: Xml): value is readonly Xml[] {
  return Array.isArray(value);
}

function unescape(text: string): string {
  return text.includes('<')
    ? text
    : text
        .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
        .replace(/&#x([0-9a-fA-F]+);/g, (_, code: string) =>
          String.fromCodePoint(parseInt(code, 16)),
        )
        .replaceAll('&lt;', '<')
        .replaceAll('&gt;', '>')
        .replaceAll('&quot;', '"')
        .replaceAll('&amp;', '&');
}
