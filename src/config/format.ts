import { type Address, formatAddress, parseHostPort } from '../base/address.ts';
import { formatBalancerAddress, parseBalancerAddress } from '../base/balancer-address.ts';
import { formatFingerprint, parseFingerprint } from '../base/identity.ts';

/** What a setting's value may be, and how it is written. */
export interface Format<Value> {
  /** What is allowed, for the sentence that refuses something else: "must be …". */
  readonly allowed: string;
  /** What stands for the value in `--help`. Absent: the option is a switch without a value. */
  readonly placeholder?: string;
  /** The value a text means; undefined where it means none. */
  read(text: string): Value | undefined;
  /** The value as `--print-config` shows it, which `read` (or JSON itself) takes back. */
  show(value: Value): string | number | boolean;
}

/** Where to listen, and what to advertise: port 0 is a free port. */
export const hostPort: Format<Address> = {
  allowed: 'HOST:PORT, like 0.0.0.0:50050, [::1]:50050 or example.org:50050',
  placeholder: 'HOST:PORT',
  read: parseHostPort,
  show: formatAddress,
};

/** A load balancer as a peer names it, as text in its one spelling. */
export const balancer: Format<string> = {
  allowed: 'HOST:PORT, or HOST:PORT#sha256-… with the pin of the cluster',
  placeholder: 'HOST:PORT',
  read: (text) => {
    const address = parseBalancerAddress(text);
    return address && formatBalancerAddress(address);
  },
  show: (value) => value,
};

/** A load balancer's cluster address as a server names it, as text. */
export const clusterBalancer: Format<string> = {
  allowed: 'HOST:PORT, or dns:///NAME:PORT for every address behind a name',
  placeholder: 'HOST:PORT',
  read: (text) => {
    const dns = text.startsWith('dns:///') ? 'dns:///' : '';
    const address = parseHostPort(text.slice(dns.length));
    return address === undefined || address.port === 0 ? undefined : dns + formatAddress(address);
  },
  show: (value) => value,
};

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** The longest time a timer keeps: 2^31 - 1 ms, over 24 days. */
const MAX_DURATION_MS = 2 ** 31 - 1;

/** A length of time, in milliseconds. */
export const duration: Format<number> = {
  allowed: 'a length of time like 250ms, 5s, 2m or 1h',
  placeholder: 'TIME',
  read: (text) => {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
    const ms = Number(match?.[1]) * (UNITS_MS[match?.[2] ?? ''] ?? Number.NaN);
    return ms <= MAX_DURATION_MS ? Math.round(ms) : undefined;
  },
  show: (ms) => (ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`),
};

/** A switch: on by naming it; `true` or `false` in a file or the environment. */
export const flag: Format<boolean> = {
  allowed: 'true or false',
  read: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  show: (value) => value,
};

/** A file or directory; what is in it is for those who open it. */
export function path(placeholder: 'FILE' | 'DIR'): Format<string> {
  return {
    allowed: placeholder === 'FILE' ? 'the path of a file' : 'the path of a directory',
    placeholder,
    read: (text) => (text === '' || text.includes('\0') ? undefined : text),
    show: (value) => value,
  };
}

export function integer(least: number, most: number): Format<number> {
  return {
    allowed: `a whole number from ${least} to ${most}`,
    placeholder: 'NUMBER',
    read: (text) => {
      const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
      return value >= least && value <= most ? value : undefined;
    },
    show: (value) => value,
  };
}

export function oneOf<const Choice extends string>(choices: readonly Choice[]): Format<Choice> {
  return {
    allowed: `one of ${choices.join(', ')}`,
    placeholder: choices.join('|'),
    read: (text) => choices.find((choice) => choice === text),
    show: (value) => value,
  };
}

/** The fingerprint of a key, as text. */
export const fingerprint: Format<string> = {
  allowed: 'a fingerprint, sha256- and 43 letters and digits',
  placeholder: 'sha256-…',
  read: (text) => {
    const bytes = parseFingerprint(text);
    return bytes && formatFingerprint(bytes);
  },
  show: (value) => value,
};

const SIZE_UNITS: Readonly<Record<string, number>> = {
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** An amount of memory, or of traffic, in bytes. */
export const size: Format<number> = {
  allowed: 'a size like 256KiB, 512MiB or 4GiB',
  placeholder: 'SIZE',
  read: (text) => {
    const match = /^(\d{1,6})(KiB|MiB|GiB)$/.exec(text);
    const bytes = Number(match?.[1]) * (SIZE_UNITS[match?.[2] ?? ''] ?? Number.NaN);
    return bytes > 0 ? bytes : undefined;
  },
  show: (bytes) => {
    const unit = bytes % 2 ** 30 === 0 ? 'GiB' : bytes % 2 ** 20 === 0 ? 'MiB' : 'KiB';
    return `${bytes / (SIZE_UNITS[unit] ?? 1)}${unit}`;
  },
};

/** A value of another format, or a word that stands for something else. */
export function orWord<Value, const Word extends string>(
  format: Format<Value>,
  word: Word,
): Format<Value | Word> {
  return {
    allowed: `${format.allowed}, or ${word}`,
    placeholder: `${format.placeholder ?? 'VALUE'}|${word}`,
    read: (text) => (text === word ? word : format.read(text)),
    show: (value) => (value === word ? word : format.show(value as Value)),
  };
}
