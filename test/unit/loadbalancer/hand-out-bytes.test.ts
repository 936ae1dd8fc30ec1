import { describe, expect, it } from 'vitest';
import { HandOutBytes } from '../../../src/loadbalancer/hand-out-bytes.ts';
import type { Member } from '../../../src/loadbalancer/member.ts';
import { GetServersResponse } from '../../../src/rpc/generated/chatty/v1/loadbalancer.ts';
import { OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';

function member(digit: string, port = 4433): Member {
  return {
    id: digit.repeat(32),
    incarnation: 1n,
    peerAddresses: [
      { host: '192.0.2.1', port },
      { host: '2001:db8::1', port },
    ],
    clusterAddresses: [{ host: '192.0.2.1', port: 50_051 }],
    certificate: Buffer.from(`certificate ${digit}`),
  };
}

const [A, B] = [member('a'), member('b')];
const NOBODY = { stunAddresses: [], balancers: [] };

describe('the bytes of an answer', () => {
  it('are those of the whole message', () => {
    const stunAddresses = [{ host: '192.0.2.9', port: 4433 }];
    const bytes = new HandOutBytes().of({ servers: [A, B], stunAddresses, balancers: [] }, [
      'lb1.example.org:50050',
      'lb2.example.org:50050',
    ]);
    const ip4 = Buffer.from([192, 0, 2, 1]);
    const ip6 = Buffer.from('20010db8000000000000000000000001', 'hex');
    const addresses = [
      { ip: ip4, port: 4433 },
      { ip: ip6, port: 4433 },
    ];
    const whole = GetServersResponse.encode({
      protocol: OWN_PROTOCOL,
      servers: [
        { id: A.id, addresses, certificate: Buffer.from(A.certificate) },
        { id: B.id, addresses, certificate: Buffer.from(B.certificate) },
      ],
      stunAddresses: [{ ip: Buffer.from([192, 0, 2, 9]), port: 4433 }],
      loadBalancers: ['lb1.example.org:50050', 'lb2.example.org:50050'],
    }).finish();
    expect(bytes).toEqual(Buffer.from(whole));
  });

  it('keep the order of each answer', () => {
    const answers = new HandOutBytes();
    const idsOf = (servers: readonly Member[]): string[] =>
      GetServersResponse.decode(answers.of({ servers, ...NOBODY }, [])).servers.map(({ id }) => id);
    expect(idsOf([A, B])).toEqual([A.id, B.id]);
    expect(idsOf([B, A])).toEqual([B.id, A.id]);
    expect(idsOf([B])).toEqual([B.id]);
  });

  it('are new for a server that has registered with something else', () => {
    const answers = new HandOutBytes();
    answers.of({ servers: [A], ...NOBODY }, []);
    const moved = answers.of({ servers: [member('a', 5544)], ...NOBODY }, []);
    expect(GetServersResponse.decode(moved).servers[0]?.addresses[0]?.port).toBe(5544);
  });
});
