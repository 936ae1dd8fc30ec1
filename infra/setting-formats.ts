import { isIPv4, isIPv6 } from 'node:net';
import { resolve } from 'node:path';

/** What a setting may be. */
export interface Format<Value> {
  /** The value where nobody names one. @param name - the cluster's name. */
  default(name: string): Value | undefined;
  /** Reads what cdktf.json or a variable says. @returns undefined for what is not allowed. */
  read(given: unknown): Value | undefined;
  /** What is allowed, after "is not". @param given - what was refused, where that has a reason. */
  allowed(given: unknown): string;
}

/** Text of a certain shape. */
function text(pattern: RegExp, fallback: string | undefined, allowed: string): Format<string> {
  return {
    default: () => fallback,
    read: (given) => (typeof given === 'string' && pattern.test(given) ? given : undefined),
    allowed: () => allowed,
  };
}

export function aName(fallback?: string): Format<string> {
  const shape =
    'a name of 3 to 24 lower-case letters, digits and hyphens that begins with a letter';
  return text(/^[a-z][a-z0-9-]{1,22}[a-z0-9]$/, fallback, shape);
}

export function aRegion(fallback: string): Format<string> {
  return text(/^[a-z]{2}(-[a-z]+)+-\d$/, fallback, 'a region of AWS, like eu-central-1');
}

/** A whole number in a range; without a default it is only part of another format. */
export function aNumber(least: number, most: number, fallback?: number): Format<number> {
  return {
    default: () => fallback,
    read: (given) => {
      const value = typeof given === 'string' && /^\d{1,9}$/.test(given) ? Number(given) : given;
      if (typeof value !== 'number' || !Number.isInteger(value)) return undefined;
      return value >= least && value <= most ? value : undefined;
    },
    allowed: () => `a whole number from ${least} to ${most}`,
  };
}

/** A word, which is also the default, or what another format takes. */
export function oneOf<Word extends string, Value>(
  word: Word,
  other: Format<Value>,
): Format<Word | Value> {
  return {
    default: () => word,
    read: (given) => (given === word ? word : other.read(given)),
    allowed: (given) => `${word === '' ? 'empty' : word}, or ${other.allowed(given)}`,
  };
}

/** `family size` of an instance type: letters, generation, capabilities. */
const INSTANCE_TYPE = /^([a-z]+)(\d+)([a-z0-9-]*)\.([a-z0-9-]+)$/;

/** An instance type with x86-64 cores: there is no QUIC library for Linux on ARM. */
export function anInstanceType(fallback: string): Format<string> {
  const isArm = (given: unknown): boolean => {
    const [, family = '', generation = '', capabilities = ''] =
      (typeof given === 'string' && INSTANCE_TYPE.exec(given)) || [];
    // Graviton is a g among the capabilities (m7g, c7gn, x2gd); the first generation was called a1.
    return capabilities.includes('g') || family + generation === 'a1' || family === 'mac';
  };
  return {
    default: () => fallback,
    read: (given) =>
      typeof given === 'string' && INSTANCE_TYPE.test(given) && !isArm(given) ? given : undefined,
    allowed: (given) =>
      isArm(given)
        ? 'an x86-64 instance type like t3.small: it has ARM cores, or is a Mac, for which the QUIC library is not built'
        : 'an instance type with x86-64 cores, like t3.small',
  };
}

/** Comma-separated where it is text. */
function itemsOf(given: unknown): readonly unknown[] {
  if (typeof given === 'string') return given === '' ? [] : given.split(',').map((s) => s.trim());
  return Array.isArray(given) ? given : [undefined];
}

export function zones(fallback: readonly string[]): Format<readonly string[]> {
  return {
    default: () => fallback,
    read: (given) => {
      const items = itemsOf(given).filter(
        (item) => typeof item === 'string' && /^[a-z]{2}(-[a-z]+)+-\d[a-z]$/.test(item),
      ) as string[];
      const whole = items.length === itemsOf(given).length && new Set(items).size === items.length;
      return whole && items.length <= 6 ? items : undefined;
    },
    allowed: () => 'up to 6 different availability zones, like eu-central-1a,eu-central-1b',
  };
}

/** The bits of a network's prefix. @returns undefined for what is no network in CIDR notation. */
function prefixOf(given: unknown): number | undefined {
  const [, address = '', digits = ''] =
    (typeof given === 'string' && /^([\d.]+|[\da-f:]+)\/(\d{1,3})$/.exec(given)) || [];
  const bits = Number(digits);
  if (isIPv4(address) && bits <= 32) return bits;
  return isIPv6(address) && bits <= 128 ? bits : undefined;
}

/** An IPv4 network with a prefix in a range. */
export function aNetwork(fallback: string, least: number, most: number): Format<string> {
  return {
    default: () => fallback,
    read: (given) => {
      const bits = prefixOf(given);
      const network = typeof given === 'string' && !given.includes(':') ? given : undefined;
      return bits !== undefined && bits >= least && bits <= most ? network : undefined;
    },
    allowed: () => `an IPv4 network of /${least} to /${most}, like ${fallback}`,
  };
}

export function networks(fallback: readonly string[]): Format<readonly string[]> {
  return {
    default: () => fallback,
    read: (given) => {
      const items = itemsOf(given);
      const good = items.length > 0 && items.every((item) => prefixOf(item) !== undefined);
      return good && new Set(items).size === items.length ? (items as string[]) : undefined;
    },
    allowed: () => 'one or more different networks, like 0.0.0.0/0,::/0 or 198.51.100.0/24',
  };
}

/** A file or folder; relative ones are relative to `root`. */
export function aFile(root: string, fallback: (name: string) => string): Format<string> {
  return {
    default: (name) => resolve(root, fallback(name)),
    read: (given) => (typeof given === 'string' && given !== '' ? resolve(root, given) : undefined),
    allowed: () => 'the path of a file or folder',
  };
}
