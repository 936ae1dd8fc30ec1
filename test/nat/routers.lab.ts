import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { CELLS } from './cells.ts';
import { Laboratory } from './laboratory.ts';
import { withCell } from './meeting.ts';
import { optionsOf } from './options.ts';
import type { PlainComputer } from './plain-computer.ts';
import { modelOf, ROUTER_TYPES, type RouterType } from './router-types.ts';
import type { Site } from './site.ts';

const options = optionsOf(process.env);
const TRANSLATORS = ROUTER_TYPES.filter((type) => {
  const { ipv4 } = modelOf(type).claim;
  return ipv4 !== undefined && ipv4.mapping !== 'none';
});
const LIFETIME_MS = 1_000;
const PACKETS = 1_000;

let laboratory: Laboratory;

beforeAll(async () => {
  laboratory = await Laboratory.start(options.seed, { cluster: false });
});

afterAll(async () => {
  await laboratory[Symbol.asyncDispose]();
});

describe('routers', () => {
  it.each(ROUTER_TYPES)('%s is what it is called', async (type) => {
    expect(await laboratory.prove(type)).toEqual(modelOf(type).claim);
  });

  it('that are not what they are called are found out', async () => {
    const site = await laboratory.site('eim-adf');
    try {
      expect(await laboratory.behaviourOf(site)).not.toEqual(modelOf('eim-apdf').claim);
    } finally {
      await laboratory.remove(site);
    }
  });
});

describe('networks that two people share', () => {
  const shared = CELLS.filter(({ together }) => together !== 'apart');
  it.each(shared.map((cell) => [cell.name, cell] as const))(
    '%s is what it is called',
    async (_name, cell) => {
      await withCell(laboratory, cell, async ([one, other]) => {
        expect(await laboratory.neighbourhoodOf(one, other)).toEqual({
          inside: cell.together === 'one-lan',
          hairpin: cell.hairpin,
        });
      });
    },
  );
});

describe('what happens to networks', () => {
  it.each(TRANSLATORS)('%s: a rebinding changes the port', async (type) => {
    await withSite(type, {}, async (site, computer) => {
      const socket = await computer.open();
      const before = await laboratory.seen(socket);
      await site.rebind();
      const after = await laboratory.seen(socket);
      expect(after.host).toBe(before.host);
      expect(after.port).not.toBe(before.port);
    });
  });

  it.each(['public', ...TRANSLATORS] as const)('%s: gets another address', async (type) => {
    await withSite(type, {}, async (site, computer) => {
      const socket = await computer.open();
      const before = await laboratory.seen(socket);
      const address = laboratory.newAddress();
      await site.move(address);
      expect(before.host).not.toBe(address);
      expect((await laboratory.seen(socket)).host).toBe(address);
    });
  });

  it.each(['eim-eif', 'masquerade'] as const)('%s: forgets what is silent', async (type) => {
    await withSite(type, { lifetimeMs: LIFETIME_MS }, async (_site, computer) => {
      const { observer } = laboratory;
      const { first } = observer.sockets;
      const [silent, talks] = [await computer.open(), await computer.open()];
      const mapped = await laboratory.seen(silent);
      const early = await observer.computer.send(first, mapped);
      await computer.hears(silent, early.text);
      await clock.sleep(2 * LIFETIME_MS);
      const late = await observer.computer.send(first, mapped);
      const proof = await observer.computer.send(first, await laboratory.seen(talks));
      await computer.hears(talks, proof.text);
      expect(computer.heard(silent, late.text)).toBeUndefined();
    });
  });

  it('masquerade: early packets leave no trace where the router drops them', async () => {
    await withSite('masquerade', {}, async (site) => {
      await site.dropEarlyPackets();
      expect((await laboratory.behaviourOf(site)).ipv4?.earlyPacketMoves).toBe(false);
    });
  });

  it('a server is 40 ms away and back', async () => {
    await withSite('masquerade', {}, async (_site, computer) => {
      const socket = await computer.open();
      const tripsMs: number[] = [];
      while (tripsMs.length < 20) {
        const { text, atMs } = await computer.send(socket, laboratory.echo);
        tripsMs.push((await computer.hears(socket, text)).atMs - atMs);
      }
      const quickest = Math.min(...tripsMs);
      expect(quickest).toBeGreaterThan(39.9);
      expect(quickest).toBeLessThan(42);
    });
  });

  it('of a thousand packets so many are lost', async () => {
    await withSite('eim-eif', {}, async (site, computer) => {
      await site.lose(50);
      const socket = await computer.open();
      const before = await laboratory.wire.count(site.uplink);
      for (let sent = 0; sent < PACKETS; sent++) await computer.send(socket, laboratory.echo);
      await site.lose(0);
      await laboratory.seen(socket);
      const { up } = await laboratory.wire.count(site.uplink);
      const lost = PACKETS + 1 - (up - before.up);
      // 50 are expected; 25 are 3.6 standard deviations from them.
      expect(Math.abs(lost - 50)).toBeLessThan(25);
    });
  });

  it('what is cut hears nothing', async () => {
    await withSite('public', {}, async (site, computer) => {
      const socket = await computer.open();
      const mapped = await laboratory.seen(socket);
      const { observer } = laboratory;
      await site.cut(true);
      const lost = await observer.computer.send(observer.sockets.first, mapped);
      await observer.computer.open();
      await site.cut(false);
      const came = await observer.computer.send(observer.sockets.first, mapped);
      await computer.hears(socket, came.text);
      expect(computer.heard(socket, lost.text)).toBeUndefined();
    });
  });

  it('a packet with a short life opens the way and does not arrive', async () => {
    await withSite('eim-apdf', {}, async (_site, computer) => {
      const { observer } = laboratory;
      const { first, second } = observer.sockets;
      const socket = await computer.open();
      const mapped = await laboratory.seen(socket);
      const opener = await computer.send(socket, { host: observer.v4, port: second.port }, 5);
      const asked = await observer.computer.send(second, mapped);
      await computer.hears(socket, asked.text);
      await laboratory.seen(socket);
      expect(observer.computer.heard(second, opener.text)).toBeUndefined();
      expect(observer.computer.countHeard(first)).toBeGreaterThan(0);
    });
  });
});

async function withSite(
  type: RouterType,
  more: { readonly lifetimeMs?: number },
  use: (site: Site, computer: PlainComputer) => Promise<void>,
): Promise<void> {
  const site = await laboratory.site(type, more);
  try {
    await using computer = laboratory.plainComputer(site, 0);
    await use(site, computer);
  } finally {
    await laboratory.remove(site);
  }
}
