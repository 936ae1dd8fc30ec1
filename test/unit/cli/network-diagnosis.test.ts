import { describe, expect, it } from 'vitest';
import { type Address, parseAddress } from '../../../src/base/address.ts';
import { describeDiagnosis } from '../../../src/cli/diagnosis-text.ts';
import { diagnose } from '../../../src/cli/network-diagnosis.ts';
import type { Answer, NetworkSurvey } from '../../../src/peer/network-survey.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

const OUTER = address('203.0.113.7:6000');

/** `S1:4433 41` answered after 41 ms, `S1:443 -` did not. */
function answers(...lines: readonly string[]): Answer[] {
  return lines.map((line) => {
    const [where = '', ms = '-'] = line.split(' ');
    const answered = ms !== '-';
    return {
      address: address(where.replace('S', '198.51.100.')),
      mapped: answered ? OUTER : undefined,
      ms: answered ? Number(ms) : 1500,
    };
  });
}

function survey(changes: Partial<NetworkSurvey> = {}): NetworkSurvey {
  return {
    failures: new Map(),
    answers: answers('S1:4433 41', 'S1:443 43', 'S2:4433 47'),
    tcp: [],
    nat: {
      mapping: 'endpoint-independent',
      dependence: 'endpoint-independent',
      step: 0,
      portPreserving: false,
      isOwnAddress: false,
      lastObserved: OUTER,
      observers: { addresses: 3, hosts: 2 },
    },
    hairpin: { works: true, letsStrangersIn: false },
    hasIpv6: false,
    portMapping: 'none',
    ...changes,
  };
}

function mapping(kind: 'sequential' | 'random'): Partial<NetworkSurvey> {
  const { nat } = survey();
  const dependence = 'address-and-port-dependent';
  return nat === undefined
    ? {}
    : {
        nat: { ...nat, dependence, mapping: kind, step: kind === 'random' ? 0 : 2 },
        hairpin: undefined,
      };
}

function given(host: string): Partial<NetworkSurvey> {
  return { portMapping: { protocol: 'upnp', external: { host, port: 6000 } } };
}

const whom = (changes: Partial<NetworkSurvey>): string =>
  Object.values(diagnose(survey(changes)).reach).join(' ');

describe('the diagnosis of a network', () => {
  it.each<[string, Partial<NetworkSurvey>, string]>([
    [
      'one port for everybody',
      {},
      'direct direct-after-guessing direct-after-guessing relay relay',
    ],
    [
      'ports that count up',
      mapping('sequential'),
      'direct-after-guessing direct-after-guessing relay relay relay',
    ],
    ['random ports', mapping('random'), 'direct-after-guessing relay relay relay relay'],
    [
      'random ports, and a port that the router gives',
      { ...mapping('random'), ...given(OUTER.host) },
      'direct direct direct relay relay',
    ],
    [
      'random ports, and a port of a router behind another one',
      { ...mapping('random'), ...given('192.168.0.2') },
      'direct-after-guessing relay relay relay relay',
    ],
    [
      'UDP to port 443 only',
      { answers: answers('S1:4433 -', 'S1:443 43') },
      'relay relay relay relay relay',
    ],
    [
      'no UDP',
      { answers: answers('S1:4433 -'), nat: undefined, hairpin: undefined },
      'relay relay relay relay relay',
    ],
    [
      'too few servers to tell',
      { nat: undefined, hairpin: undefined },
      'unknown unknown unknown unknown unknown',
    ],
  ])('says who is reached from behind %s', (_network, changes, expected) => {
    expect(whom(changes)).toBe(expected);
  });

  it.each<[string, Partial<NetworkSurvey>, object]>([
    [
      'nothing answers',
      { answers: answers('S1:4433 -'), tcp: [] },
      { udp: 'blocked', tunnel: false },
    ],
    [
      'only TCP does',
      { answers: answers('S1:4433 -'), tcp: [address('198.51.100.1:4433')] },
      { udp: 'blocked', tunnel: true },
    ],
    [
      'only port 443 does',
      { answers: answers('S1:4433 -', 'S1:443 9') },
      { udp: '443-only', tunnel: null },
    ],
    ['one server is down', { answers: answers('S1:4433 -', 'S2:4433 9') }, { udp: 'open' }],
    ['all servers are at port 443', { answers: answers('S1:443 9') }, { udp: 'open' }],
    ['the router gives a port', given(OUTER.host), { portMapping: { by: 'upnp', usable: true } }],
    ['another one is behind it', given('10.0.0.2'), { portMapping: { by: 'upnp', usable: false } }],
    ['no port is given', {}, { portMapping: { by: 'none', usable: null } }],
    ['IPv6 is there and leads nowhere', { hasIpv6: true }, { ipv6: 'no-answer' }],
  ])('tells when %s', (_what, changes, expected) => {
    expect(diagnose(survey(changes))).toMatchObject(expected);
  });

  it('knows filtering only by what the router sends back', () => {
    const filtering = (hairpin: NetworkSurvey['hairpin']): string =>
      diagnose(survey({ hairpin })).ipv4.filtering;
    expect(filtering({ works: true, letsStrangersIn: true })).toBe('endpoint-independent');
    expect(filtering({ works: true, letsStrangersIn: false })).toBe('dependent');
    expect(filtering({ works: false, letsStrangersIn: false })).toBe('unknown');
    expect(filtering(undefined)).toBe('unknown');
  });

  it('is drawn, said and explained for a person', () => {
    expect(describeDiagnosis(diagnose(survey(mapping('sequential')))).join('\n'))
      .toMatchInlineSnapshot(`
      "  you ══════ [ NAT ] ═════ internet ═════ servers
                   203.0.113.7                   3 of 3 addresses, 41 ms

        UDP             gets through
        NAT, mapping    sequential: another outer port for everybody, which can be foreseen (3 observers, step 2, address-and-port-dependent)
        NAT, filtering  not seen from here
        hairpinning     not tried
        IPv6            none
        port mapping    no: the router gives out no port by PCP, NAT-PMP or UPnP
        same network    whether neighbours reach each other cannot be told from one computer

      A friend on your own network is reached directly unless the network keeps its computers apart.
      Elsewhere:
        an ordinary home                ◐  direct, once ports are guessed
        a router that counts ports up   ◐  direct, once ports are guessed
        a router with random ports      ○  over a relay, encrypted
        UDP to port 443 only            ○  over a relay, encrypted
        no UDP                          ○  over a relay, encrypted

      Your router moves your port, but foreseeably: friends find it in half a second."
    `);
  });
});
