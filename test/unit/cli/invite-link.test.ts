import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseName } from '../../../src/base/name.ts';
import {
  formatInvitation,
  type Invitation,
  parseInvitation,
} from '../../../src/cli/invite-link.ts';
import { parseBalancerAddress } from '../../../src/base/balancer-address.ts';

const KEY = new Uint8Array(32).fill(7);
const KEY_TEXT = 'sha256-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc';
const invitation: Invitation = {
  inviter: 'alice',
  guest: 'bob',
  key: KEY,
  loadBalancers: [
    { host: 'lb.example.org', port: 50050, pin: KEY },
    { host: '2001:db8::1', port: 50051 },
  ],
};
const LINK = `chatty://v1/alice/bob/${KEY_TEXT}/lb.example.org:50050=${KEY_TEXT},%5B2001:db8::1%5D:50051`;

describe('an invitation link', () => {
  it('carries the balancers with their pins, both names and the key', () => {
    expect(formatInvitation(invitation)).toBe(LINK);
    expect(parseInvitation(LINK)).toEqual({ invitation });
  });

  it('may have white space around it and a scheme in capitals', () => {
    expect(parseInvitation(`  ${LINK.replace('chatty', 'CHATTY')}\n`)).toEqual({ invitation });
  });

  it('carries any names, in characters that mean nothing to a shell or a chat', () => {
    const name = fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .map((text) => normaliseName(text))
      .filter((result) => 'name' in result)
      .map(({ name }) => name);
    fc.assert(
      fc.property(name, name, (inviter, guest) => {
        fc.pre(inviter !== guest);
        const link = formatInvitation({ ...invitation, inviter, guest });
        expect(link).toMatch(/^[A-Za-z0-9:/.,=%_-]+$/);
        expect(parseInvitation(link)).toEqual({ invitation: { ...invitation, inviter, guest } });
      }),
    );
  });

  it.each([
    ['not begin with chatty://', LINK.replace('chatty', 'http')],
    ['not complete', LINK.slice(0, LINK.indexOf('/lb.'))],
    ['not complete', LINK.replace(KEY_TEXT, 'sha256-short')],
    ['not complete', `${LINK}/more`],
    ['a name that cannot be one', LINK.replace('alice', '%00')],
    ['a name that cannot be one', LINK.replace('bob', '%E0%A4%A')],
    ['a name that cannot be one', LINK.replace('bob', '')],
    ['a name that cannot be one', LINK.replace('bob', 'a%CC%88')],
    ['the same name', LINK.replace('bob', 'alice')],
    ['no list of load balancers', LINK.replace(':50050', ':0')],
    ['no list of load balancers', LINK.replace(/=sha256.*,/, '=sha256-x,')],
    ['no list of load balancers', `chatty://v1/alice/bob/${KEY_TEXT}/`],
    ['no list of load balancers', LINK + ',lb:1'.repeat(8)],
    ['too long', LINK + 'x'.repeat(5_000)],
    ['update this one', LINK.replace('v1', 'v2')],
    ['damaged', 'chatty://'],
    ['damaged', 'chatty://alice/bob'],
  ])('is refused because: %s (%#)', (why, link) => {
    const result = parseInvitation(link);
    expect('fault' in result && result.fault).toContain(why);
  });

  it('never makes reading it throw', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(LINK.length), (text, at) => {
        parseInvitation(text);
        parseInvitation(`chatty://v1/${text}`);
        parseInvitation(LINK.slice(0, at) + text + LINK.slice(at));
      }),
    );
  });

  it('holds balancers as users write them', () => {
    expect(parseBalancerAddress(`lb.example.org:50050#${KEY_TEXT}`)).toEqual(
      invitation.loadBalancers[0],
    );
  });
});
