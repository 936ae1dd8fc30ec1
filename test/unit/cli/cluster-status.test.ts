import { describe, expect, it } from 'vitest';
import {
  type BalancerView,
  compareViews,
  describeStatus,
  viewFromWire,
} from '../../../src/cli/cluster-status.ts';
import { ServerState } from '../../../src/rpc/generated/chatty/v1/operations.ts';
import { OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';
import { addressToWire } from '../../../src/rpc/wire-address.ts';

const ALL = {
  listed: ServerState.SERVER_STATE_LISTED,
  suspect: ServerState.SERVER_STATE_SUSPECT,
  starting: ServerState.SERVER_STATE_STARTING,
};

/** What a balancer says, servers as `a listed` or `a listed 2` with an incarnation. */
function view(balancer: string, ...servers: readonly string[]): BalancerView {
  return viewFromWire(balancer, {
    protocol: OWN_PROTOCOL,
    advertised: [`${balancer}.example.org:50050`],
    doubtsItself: false,
    servers: servers.map((text) => {
      const [id = '', state = '', incarnation = '1'] = text.split(' ');
      const host = `10.0.0.${id.charCodeAt(0)}`;
      return {
        member: {
          id,
          incarnation: BigInt(incarnation),
          peerAddresses: [addressToWire({ host, port: 4433 })],
          clusterAddresses: [addressToWire({ host, port: 50051 })],
          certificate: Buffer.alloc(0),
        },
        state: ALL[state as keyof typeof ALL],
        lastCheck: { result: 'serving', msAgo: 1_200 },
        renewedMsAgo: 300,
        leaseLeftMs: 14_700,
      };
    }),
  });
}

const SILENT: BalancerView = { balancer: 'c', answered: false, reason: 'timed out' };

describe('balancers', () => {
  it.each([
    ['say the same', [view('a', 'x listed'), view('b', 'x listed')], []],
    ['both hand it out, one suspects it', [view('a', 'x listed'), view('b', 'x suspect')], []],
    ['neither hands it out', [view('a', 'x starting'), view('b')], []],
    ['one is silent', [view('a', 'x listed'), SILENT], []],
    ['one does not know it', [view('a', 'x listed', 'y listed'), view('b', 'y listed')], ['x']],
    ['one does not hand it out yet', [view('a', 'x listed'), view('b', 'x starting')], ['x']],
    ['one knows it as it was', [view('a', 'x listed 2'), view('b', 'x listed 1')], ['x']],
  ])('agree or not where they %s', (_what, views, disputed) => {
    const { agree, disagreements } = compareViews(views);
    expect(disagreements.map(({ id }) => id)).toEqual(disputed);
    expect(agree).toBe(disputed.length === 0);
  });

  it('are shown with what they see, and what they disagree on is marked', () => {
    const views = [view('a', 'x listed', 'y suspect'), view('b', 'y listed'), SILENT];
    expect(describeStatus(compareViews(views))).toEqual([
      'load balancer a, peers ask at a.example.org:50050',
      '!  listed   10.0.0.120:4433  cluster 10.0.0.120:50051  serving 1.2 s ago  renewed 0.3 s ago, 14.7 s left',
      '   suspect  10.0.0.121:4433  cluster 10.0.0.121:50051  serving 1.2 s ago  renewed 0.3 s ago, 14.7 s left',
      '',
      'load balancer b, peers ask at b.example.org:50050',
      '   listed  10.0.0.121:4433  cluster 10.0.0.121:50051  serving 1.2 s ago  renewed 0.3 s ago, 14.7 s left',
      '',
      'load balancer c does not answer: timed out',
      '',
      'The load balancers disagree (!):',
      '  10.0.0.120:4433: listed at a, absent at b',
      '',
    ]);
  });

  it('that know of nobody, or doubt themselves, say so', () => {
    const doubting: BalancerView = {
      ...{ balancer: 'a', answered: true, advertised: [], doubtsItself: true, servers: [] },
    };
    expect(describeStatus(compareViews([doubting]))).toEqual([
      'load balancer a',
      expect.stringContaining('takes its own network for broken') as string,
      '  no server is registered',
      '',
    ]);
  });
});
