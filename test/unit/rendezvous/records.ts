import type { Claim } from '../../../src/rendezvous/introducer.ts';
import type { PeerRecord, RecordWish } from '../../../src/rendezvous/record.ts';

/** A key as the table spells it, from one hexadecimal digit. */
export function key(digit: string): string {
  return digit.repeat(64);
}

/** A session, the greater the newer. */
export function session(number: number): string {
  return number.toString(16).padStart(16, '0') + '0'.repeat(32);
}

/** Wishes: `bob`, or `bob=<digit>` for a key. */
function wishes(texts: readonly string[], since = 1000): Map<string, RecordWish> {
  return new Map(
    texts.map((text) => {
      const [friend = '', digit] = text.split('=');
      return [friend, { friend, friendKey: digit === undefined ? undefined : key(digit), since }];
    }),
  );
}

const ENDPOINT = {
  candidates: [{ kind: 'srflx' as const, address: { host: '203.0.113.7', port: 4000 } }],
  ufrag: 'ufrag',
  password: 'p'.repeat(24),
  nat: undefined,
  relayRefused: false,
};

export interface RecordParts extends Partial<Omit<PeerRecord, 'wishes'>> {
  readonly for?: readonly string[];
  readonly wishedAt?: number;
}

/** A record of `alice` with key a…, unless said otherwise. */
export function record(parts: RecordParts = {}): PeerRecord {
  const { for: friends = ['bob'], wishedAt, ...rest } = parts;
  return {
    name: 'alice',
    key: key('a'),
    session: session(1),
    owner: 'there',
    seq: 1,
    since: 1000,
    loopback: false,
    endpoint: ENDPOINT,
    wishes: wishes(friends, wishedAt),
    ...rest,
  };
}

/** A claim of `alice` with key a…, unless said otherwise. */
export function claim(parts: RecordParts = {}): Claim {
  const { name, key, session, loopback, endpoint, wishes } = record(parts);
  return {
    ...{ name, key, session, loopback, endpoint },
    wishes: [...wishes.values()].map(({ friend, friendKey }) => ({ friend, friendKey })),
  };
}
