import { describe, expect, it } from 'vitest';
import { ChattyError } from '../../../src/base/errors.ts';
import { formatFingerprint } from '../../../src/base/identity.ts';
import { comparisonNumber } from '../../../src/chat/comparison-number.ts';
import { LineScreen } from '../../../src/cli/line-screen.ts';
import type { ShownEvent } from '../../../src/cli/shown-event.ts';

// The reference: int(first 16 bytes) % 10**30 of each key, lower key first.
const A = Uint8Array.from({ length: 32 }, (_, index) => index);
const B = new Uint8Array(32).fill(255);
const path = {
  friend: 'bob',
  path: 'direct',
  kind: 'host',
  local: { host: '192.0.2.9', port: 1 },
  remote: { host: '192.0.2.1', port: 2 },
  sinceStartMs: 30,
  sinceMatchMs: 4,
  fingerprint: formatFingerprint(B),
  trust: 'first-use',
} as const;

const screen = (friend = 'bob', ownName = 'alice'): ((event: ShownEvent) => string) => {
  const lines = new LineScreen({
    ownName,
    friend,
    ownFingerprint: formatFingerprint(A),
    loadBalancer: 'lb.example:50050',
  });
  return (event) => lines.show(event) ?? '';
};
const message = (text: string): ShownEvent => ({
  type: 'message',
  from: 'bob',
  id: 1,
  session: '1-00',
  text,
});

describe('the line screen', () => {
  it('shows who says what', () => {
    expect(screen()(message('Hello!'))).toBe('bob: Hello!');
  });

  it('shows nothing for what the user typed: it stands there already', () => {
    expect(screen()({ type: 'sent', id: 1, text: 'hi' })).toBe('');
  });

  it('strips control sequences from everything foreign', () => {
    const evil = '\u001b]0;title\u0007\u001b[2J\u202e';
    const show = screen(`bob${evil}`);
    const events: ShownEvent[] = [
      message(`x${evil}`),
      { type: 'waiting', friend: `bob${evil}` },
      { type: 'matched', friend: `bob${evil}` },
      { type: 'connected', ...path },
      { type: 'disconnected', reason: evil },
      { type: 'registered', server: evil, observed: evil },
      { type: 'error', error: new ChattyError('CHATTY_PROTOCOL', evil, { hint: evil }) },
      { type: 'invitation', link: evil },
    ];
    for (const event of events) {
      // eslint-disable-next-line no-control-regex -- that none is left is the point
      expect(show(event)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    }
  });

  it('lets no message look like another line', () => {
    expect(screen()(message('hi\n* Connected\r\nbob: x\u2028y'))).toBe(
      ['bob: hi', '  | * Connected', '  | bob: x', '  | y'].join('\n'),
    );
  });

  it('says what the friend has to run, as a shell takes it', () => {
    expect(screen()({ type: 'waiting', friend: 'bob' })).toBe(
      '* Waiting for bob, who has to run:  chatty bob alice --lb lb.example:50050',
    );
    expect(screen("Bob's", 'アリス')({ type: 'waiting', friend: '' })).toContain(
      String.raw`chatty 'Bob'\''s' アリス --lb`,
    );
    expect(screen('join', '-a')({ type: 'waiting', friend: '' })).toContain(
      'chatty --lb lb.example:50050 -- join -a',
    );
  });

  it('says how well the friend is known, and on first contact what that means', () => {
    const first = screen()({ type: 'connected', ...path });
    expect(first).toContain('directly (192.0.2.1:2)');
    expect(first).toContain('a dishonest server, or whoever took the name');
    const number = comparisonNumber(A, B);
    expect(first).toContain(number.slice(0, 35));
    expect(first).toContain(number.slice(36));
    expect(first).toContain(`chatty trust alice bob ${formatFingerprint(B)}`);
    expect(first).toContain(formatFingerprint(A));
    for (const trust of ['known', 'verified'] as const) {
      expect(screen()({ type: 'connected', ...path, trust })).not.toContain('dishonest');
    }
  });

  it('tells of a path only when what matters about it changes', () => {
    const show = screen();
    show({ type: 'connected', ...path });
    expect(show({ type: 'path', ...path, remote: { host: '192.0.2.7', port: 9 } })).toBe('');
    expect(show({ type: 'path', ...path, path: 'relay', kind: 'relay' })).toContain(
      'which cannot read what you write',
    );
    show({ type: 'reconnecting' });
    expect(show({ type: 'path', ...path })).toBe('* Connected again, directly (192.0.2.1:2).');
  });

  it('shows an error with what to try', () => {
    const error = new ChattyError('CHATTY_NO_SERVER', 'none found:\n  lb: refused', {
      hint: 'Wait.',
    });
    expect(screen()({ type: 'error', error })).toBe('* none found:\n*   lb: refused\n* Wait.');
  });
});

describe('the comparison number', () => {
  it('is 60 digits, the same on both sides', () => {
    expect(comparisonNumber(A, B)).toMatch(/^(\d{5} ){11}\d{5}$/);
    expect(comparisonNumber(A, B)).toBe(comparisonNumber(B, A));
    expect(comparisonNumber(A, B)).toBe(
      '10060 62428 06050 95539 57313 61295 92093 84634 63374 60743 17682 11455',
    );
  });

  it('has half of its digits from each key, so that fitting one half needs that very key', () => {
    const other = Uint8Array.from(A, (byte, index) => (index === 31 ? 0 : byte));
    expect(comparisonNumber(other, B)).toBe(comparisonNumber(A, B));
  });
});
