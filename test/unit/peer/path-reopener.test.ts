import { describe, expect, it } from 'vitest';
import type { Address } from '../../../src/base/address.ts';
import { type Path, Reopening } from '../../../src/path/index.ts';
import { PathReopener } from '../../../src/peer/path-reopener.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const FRIEND = { host: '203.0.113.7', port: 6000 };
const OWN = { host: '203.0.113.9', port: 7000 };
const NAT = { mapping: 'endpoint-independent', step: 0 } as const;

/** A reopener whose sockets are counted. */
class World {
  readonly clock = new VirtualClock();
  readonly open = new Set<Address>();
  readonly told: (Address | undefined)[] = [];
  readonly opened: { readonly remote: Address; readonly local: Address }[] = [];
  readonly gone: Address[] = [];
  most = 0;
  answers = true;
  /** What opening a socket waits for. */
  slowly: Promise<void> = Promise.resolve();
  readonly reopener: PathReopener;
  #port = 50_000;

  constructor() {
    this.reopener = new PathReopener({
      reopening: new Reopening(this.clock.now()),
      clock: this.clock,
      openSocket: async () => {
        const socket = { host: '0.0.0.0', port: this.#port++ };
        this.open.add(socket);
        this.most = Math.max(this.most, this.open.size);
        await this.slowly;
        return socket;
      },
      closeSocket: (socket) => {
        this.open.delete(socket);
        return Promise.resolve();
      },
      locate: (socket) =>
        Promise.resolve(this.answers ? { host: OWN.host, port: socket.port } : undefined),
      openPort: (remote, local) => this.opened.push({ remote, local }),
      socketClosed: (socket) => this.gone.push(socket),
      located: () => this.told.push(this.reopener.mapped),
    });
    this.reopener.step({ type: 'own-nat', nat: { ...NAT, lastObserved: OWN } });
    const nat = { ...NAT, lastObserved: FRIEND };
    this.reopener.step({ type: 'friend-nat', nat, reflexive: FRIEND });
  }

  /** Time passes; what was opened meanwhile is there. */
  async pass(ms: number): Promise<void> {
    for (const end = this.clock.now() + ms; this.clock.now() < end;) {
      this.clock.runUntil(Math.min(end, this.clock.now() + 100));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  get socket(): Address | undefined {
    return [...this.open].find((socket) => this.reopener.has(socket));
  }

  isUsed(): void {
    const path: Partial<Path> = { local: this.socket };
    this.reopener.pathKnown(true, path as Path);
  }
}

describe('the socket of a second way in', () => {
  it('has sent to where the friend is when servers are told where it is seen', async () => {
    const world = new World();
    await world.pass(500);
    expect(world.opened.map(({ remote, local }) => [remote, local])).toEqual(
      Array.from({ length: 3 }, () => [FRIEND, world.socket]),
    );
    expect(world.told).toEqual([{ host: OWN.host, port: world.socket?.port }]);
  });

  it('is one at a time, and none when all attempts are over', async () => {
    const world = new World();
    await world.pass(60_000);
    expect([world.most, world.open.size, world.told.length]).toEqual([1, 0, 3]);
    expect(world.gone).toHaveLength(3);
    expect(world.reopener.mapped).toBeUndefined();
  });

  it('stays while the path goes through it, and is told of to nobody else', async () => {
    const world = new World();
    await world.pass(500);
    world.isUsed();
    await world.pass(60_000);
    expect(world.open.size).toBe(1);
    expect(world.reopener.mapped).toBeUndefined();
    world.reopener.pathKnown(true, undefined);
    await world.pass(60_000);
    expect(world.open.size).toBe(0);
  });

  it('is closed with the path to the friend, in whatever state', async () => {
    for (const ms of [0, 500, 30_000]) {
      const world = new World();
      await world.pass(ms);
      world.reopener.close();
      await world.pass(60_000);
      expect(world.open.size).toBe(0);
    }
  });

  it.each(['close', 'network-changed'] as const)(
    'that the system gives after a %s is not left open',
    async (what) => {
      const world = new World();
      let give: () => void = () => undefined;
      world.slowly = new Promise((resolve) => (give = resolve));
      await world.pass(500);
      expect(world.open.size).toBe(1);
      if (what === 'close') world.reopener.close();
      else world.reopener.step({ type: what });
      give();
      await world.pass(60_000);
      expect(world.open.size).toBe(0);
    },
  );

  it('is told of to nobody where no server answers', async () => {
    const world = new World();
    world.answers = false;
    await world.pass(60_000);
    expect([world.told.length, world.opened.length, world.open.size]).toEqual([0, 0, 0]);
  });
});
