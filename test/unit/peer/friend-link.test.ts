import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Path, RelayLimit } from '../../../src/path/index.ts';
import { FriendLink, type FriendLinkHost } from '../../../src/peer/friend-link.ts';
import { obstacleBetween } from '../../../src/peer/obstacle.ts';
import type { FriendPath, FriendPathEvents } from '../../../src/peer/friend-path.ts';
import type { Match } from '../../../src/peer/match.ts';
import type { QuicConnection } from '../../../src/quic/index.ts';
import { encodeFrame, FrameDecoder } from '../../../src/rpc/frames.ts';
import { PeerFrame } from '../../../src/rpc/generated/chatty/v1/peer.ts';
import { OWN_PROTOCOL } from '../../../src/rpc/protocol.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

type Kind = NonNullable<PeerFrame['kind']>;

const OWN_SESSION = { startedAt: 1n, nonce: Buffer.alloc(16, 1) };
const MATCH: Match = {
  session: { startedAt: 2n, nonce: Buffer.alloc(16, 2) },
  key: new Uint8Array(32).fill(2),
  endpoint: {
    candidates: [],
    ufrag: 'bobfrag12',
    password: 'the-password-of-bob-123',
    relayRefused: false,
  },
  friendWasWaiting: false,
};
const remote = { host: '192.0.2.2', port: 4002 };
const RELAY = { remote, kind: 'relay', pathClass: 'relay' } as Path;
const PATH = { remote, kind: 'srflx', pathClass: 'public' } as Path;

/** The friend's end of a connection, played by the test. */
class FarEnd extends Duplex {
  readonly frames: Kind[] = [];
  readonly #decoder = new FrameDecoder(131_072);

  override _read(): void {
    // What arrives is pushed by the test.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const frame of this.#decoder.push(chunk)) {
      const { kind } = PeerFrame.decode(frame);
      if (kind !== undefined) this.frames.push(kind);
    }
    done();
  }

  says(...kinds: Kind[]): Promise<void> {
    this.push(Buffer.concat(kinds.map((kind) => encodeFrame(PeerFrame.encode({ kind }).finish()))));
    return settle();
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

interface Call {
  readonly far: FarEnd;
  readonly reasons: string[];
}

const OPEN = { udpBlocked: false, mapping: undefined, only443: false, outerHost: undefined };

/** A link to bob over a network that does what the test says. */
class Subject {
  readonly clock = new VirtualClock();
  readonly told: string[] = [];
  readonly asked: string[] = [];
  readonly link: FriendLink;
  #pathEvents: Omit<FriendPathEvents, 'opened'> | undefined;
  #best: Path | undefined;
  #path: FriendPath | undefined;

  constructor() {
    const host: FriendLinkHost = {
      clock: this.clock,
      ownName: 'alice',
      ownSession: OWN_SESSION,
      ownFingerprint: new Uint8Array(32).fill(1),
      punch: (_match, events) => {
        this.#pathEvents = events;
        const best = (): Path | undefined => this.#best;
        const path = {
          get best() {
            return best();
          },
          step: () => undefined,
          addressOf: ({ remote }: Path) => remote,
          close: () => this.told.push('path closed'),
        };
        this.#path = path as unknown as FriendPath;
        return this.#path;
      },
      dial: () => Promise.reject(new Error('nobody is dialled here')),
      localAddressFor: () => ({ host: '192.0.2.1', port: 4001 }),
      merge: () => undefined,
      obstacleTo: () => obstacleBetween(OPEN, OPEN),
      doubtWhereabouts: () => this.told.push('whereabouts doubted'),
      renewWish: (friend) => this.asked.push(friend),
    };
    const tell =
      (what: string) =>
      (...[detail]: unknown[]): void => {
        this.told.push(detail instanceof Error ? `${what}: ${detail.message}` : what);
      };
    this.link = new FriendLink('bob', host, {
      matched: tell('matched'),
      connected: tell('connected'),
      path: tell('path'),
      up: tell('up'),
      greeted: tell('greeted'),
      frame: ({ $case }) => this.told.push(`frame ${$case}`),
      down: tell('down'),
      reconnecting: tell('reconnecting'),
      disconnected: tell('disconnected'),
      unreachable: tell('unreachable'),
      obstacle: tell('obstacle'),
      relayLimited: (limit) => this.told.push(`relay limited: ${limit}`),
      guessing: tell('guessing'),
      fault: tell('fault'),
      greeting: () => ({ conversation: 3n, toConversation: 4n, receivedUpTo: 5n }),
    });
    this.link.matched(MATCH);
  }

  findPath(path = PATH): void {
    this.#best = path;
    this.#pathEvents?.selected(path);
    this.#pathEvents?.ready(false);
  }

  /** The relaying server drops what is sent. */
  limitRelay(...limits: RelayLimit[]): void {
    for (const limit of limits) this.#pathEvents?.relayLimited?.(limit);
  }

  /** The friend dials, and opens its stream. */
  called(): Call {
    const far = new FarEnd();
    const reasons: string[] = [];
    const quic = {
      role: 'acceptor',
      carrier: this.#path,
      closed: new Promise(() => undefined),
      onStream: undefined,
      ping: () => this.told.push('pinged'),
      close: (_code: number, reason: string) => reasons.push(reason),
    } as unknown as QuicConnection;
    this.link.accept(quic);
    quic.onStream?.(far as never);
    return { far, reasons };
  }

  /** What was told since last asked. */
  news(): string[] {
    return this.told.splice(0);
  }
}

const hello = (more: object = {}): Kind => ({
  $case: 'hello',
  value: {
    protocol: OWN_PROTOCOL,
    from: 'bob',
    to: 'alice',
    fromSession: MATCH.session,
    toSession: OWN_SESSION,
    receivedUpTo: 0n,
    generation: 0,
    ...more,
  },
});

describe('a link to a friend who dials', () => {
  it('tells of the connection, answers the hello, and passes frames on', async () => {
    const subject = new Subject();
    subject.findPath();
    const { far } = subject.called();
    expect(subject.news()).toEqual(['matched', 'connected']);
    await far.says(hello(), { $case: 'end', value: { number: 1n } });
    expect(subject.news()).toEqual(['up', 'frame end']);
    expect(far.frames).toMatchObject([
      { $case: 'welcome', value: { conversation: 3n, receivedUpTo: 5n } },
      { $case: 'acknowledgement', value: { number: 5n, toConversation: 4n } },
    ]);
  });

  it('tells of the connection when it knows a path itself, if the friend was faster', () => {
    const subject = new Subject();
    subject.called();
    expect(subject.news()).toEqual(['matched']);
    subject.findPath();
    // What was sent before there was a path is sent again at once.
    expect(subject.news()).toEqual(['pinged', 'connected']);
  });

  it('tells of a limit of the relay once, and again when it was not needed in between', () => {
    const subject = new Subject();
    subject.findPath(RELAY);
    subject.called();
    subject.news();
    subject.limitRelay('rate', 'rate', 'bytes', 'rate');
    expect(subject.news()).toEqual(['relay limited: rate', 'relay limited: bytes']);
    subject.findPath();
    subject.findPath(RELAY);
    subject.news();
    subject.limitRelay('rate', 'rate');
    expect(subject.news()).toEqual(['relay limited: rate']);
  });

  it.each([
    ['in another name', { from: 'mallory' }],
    ['to somebody else', { to: 'carol' }],
    ['to an earlier session', { toSession: { startedAt: 0n, nonce: Buffer.alloc(16, 1) } }],
    ['without a session', { fromSession: undefined }],
    ['from half a session', { fromSession: { startedAt: 2n, nonce: Buffer.alloc(3) } }],
  ])('refuses a hello %s', async (_what, more) => {
    const subject = new Subject();
    subject.findPath();
    const { far, reasons } = subject.called();
    await far.says(hello(more), { $case: 'end', value: { number: 1n } });
    expect(reasons).toEqual(['the hello is not for this conversation']);
    expect(subject.news()).not.toContain('frame end');
    expect(far.frames).toEqual([]);
  });

  it('says what has to be updated where no version is common', async () => {
    const subject = new Subject();
    subject.findPath();
    const { far, reasons } = subject.called();
    const protocol = { ...OWN_PROTOCOL, lowestVersion: 7, highestVersion: 9 };
    await far.says(hello({ protocol }));
    expect(far.frames).toMatchObject([{ $case: 'error', value: { code: 'CHATTY_VERSION' } }]);
    expect(subject.news().join('\n')).toMatch(/fault: .*versions 7 to 9.*update this Chatty/);
    expect(reasons).toHaveLength(1);
  });

  it('leaves a friend that reports an error, however often it does', async () => {
    const subject = new Subject();
    subject.findPath();
    const { far, reasons } = subject.called();
    const code = 'toString';
    const error: Kind = { $case: 'error', value: { code, message: '\u001b[2Jx', retryAfterMs: 0 } };
    await far.says(hello(), ...Array.from({ length: 1_000 }, () => error));
    const faults = subject.news().filter((each) => each.startsWith('fault'));
    expect(faults).toEqual([`fault: the friend's program reports: toString: \ufffd[2Jx`]);
    expect(reasons).toEqual(['the friend reported an error']);
  });

  it('sends nothing any more once it is closed', async () => {
    const subject = new Subject();
    subject.findPath();
    const { far, reasons } = subject.called();
    await far.says(hello());
    subject.link.close();
    await settle();
    expect(reasons).toEqual(['goodbye']);
    expect(subject.news()).toContain('path closed');
    far.frames.splice(0);
    subject.link.send({ $case: 'goodbyeAcknowledged', value: {} });
    await far.says({ $case: 'end', value: { number: 1n } });
    expect(far.frames).toEqual([]);
    expect(subject.news()).toEqual([]);
  });
});
