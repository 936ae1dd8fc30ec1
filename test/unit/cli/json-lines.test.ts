import { describe, expect, it } from 'vitest';
import { ChattyError } from '../../../src/base/errors.ts';
import { jsonLines } from '../../../src/cli/json-lines.ts';
import type { ShownEvent } from '../../../src/cli/shown-event.ts';

const path = {
  friend: 'bob',
  path: 'direct',
  kind: 'host',
  local: { host: '::1', port: 1 },
  remote: { host: '192.0.2.1', port: 2 },
  sinceStartMs: 30,
  sinceMatchMs: 4,
  fingerprint: 'sha256-x',
  trust: 'first-use',
} as const;
const pathFields = {
  ...path,
  local: '[::1]:1',
  remote: '192.0.2.1:2',
};

describe('a JSON line', () => {
  it.each<[ShownEvent, object | undefined]>([
    [
      { type: 'registered', server: '192.0.2.1:4433', observed: '192.0.2.2:5' },
      { server: '192.0.2.1:4433', observed: '192.0.2.2:5' },
    ],
    [
      { type: 'registered', server: '192.0.2.1:4433', observed: undefined },
      { server: '192.0.2.1:4433', observed: null },
    ],
    [{ type: 'waiting', friend: 'bob' }, { friend: 'bob' }],
    [{ type: 'matched', friend: 'bob' }, { friend: 'bob' }],
    [{ type: 'connected', ...path }, pathFields],
    [{ type: 'path', ...path }, pathFields],
    [
      { type: 'sent', id: 1, text: 'hi' },
      { id: 1, text: 'hi' },
    ],
    [
      { type: 'message', from: 'bob', id: 7, session: '1-ab', text: 'a\n"b"\u001b' },
      { from: 'bob', id: 7, text: 'a\n"b"\u001b', session: '1-ab' },
    ],
    [{ type: 'delivered', id: 7 }, { id: 7 }],
    [{ type: 'reconnecting' }, {}],
    [{ type: 'disconnected', reason: 'left' }, { reason: 'left' }],
    [{ type: 'invitation', link: 'chatty://v1/' }, { link: 'chatty://v1/' }],
    [
      { type: 'error', error: new ChattyError('CHATTY_NO_SERVER', 'none', { hint: 'wait' }) },
      { code: 'CHATTY_NO_SERVER', message: 'none', hint: 'wait' },
    ],
    [
      { type: 'error', error: new ChattyError('CHATTY_NO_SERVER', 'none') },
      { code: 'CHATTY_NO_SERVER', message: 'none', hint: null },
    ],
    [{ type: 'friend-ended' }, undefined],
  ])('has the fields of the contract: %j', (event, fields) => {
    const line = jsonLines.show(event, 12.4);
    if (fields === undefined) {
      expect(line).toBeUndefined();
      return;
    }
    expect(line).not.toContain('\n');
    expect(JSON.parse(line ?? '')).toEqual({ event: event.type, at: 12, ...fields });
  });
});
