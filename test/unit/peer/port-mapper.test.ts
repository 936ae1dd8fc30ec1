import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/base/logger.ts';
import { seededRandom } from '../../../src/base/random.ts';
import type { Gateway } from '../../../src/peer/default-gateway.ts';
import { PortMapper } from '../../../src/peer/port-mapper.ts';
import type { RouterMapping } from '../../../src/peer/port-mapping.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const HOST = '127.0.0.1';
const EXTERNAL = '203.0.113.7';
const PORT = 5000;
const WAN_IP = 'urn:schemas-upnp-org:service:WANIPConnection:1';
/** A PCP answer is the question with a few bytes changed. */
const PCP_ANSWER_BIT = 0x80;

type Reply = (asked: Buffer) => readonly Buffer[];

/** A gateway on loopback, which says what the test wants, and a peer before it. */
class Home {
  readonly clock = new VirtualClock();
  readonly mappings: (RouterMapping | undefined)[] = [];
  readonly asked: Buffer[] = [];
  readonly calls: string[] = [];
  readonly mapper: PortMapper;
  settled = 0;
  control: Reply = () => [];
  discovery: Reply = () => [];
  web: (request: IncomingMessage, body: string, response: ServerResponse) => void = () => undefined;
  #gateway: Gateway | undefined;
  readonly #sockets: Socket[] = [];
  readonly #server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      this.calls.push(`${request.method ?? ''} ${/<u:(\w+)/.exec(body)?.[1] ?? ''}`.trim());
      this.web(request, body, response);
    });
  });
  #wakers: (() => void)[] = [];

  constructor() {
    this.mapper = new PortMapper({
      ...{ clock: this.clock, random: seededRandom(1), logger: silentLogger },
      findGateway: () => Promise.resolve(this.#gateway),
      mapped: (mapping) => {
        this.mappings.push(mapping);
        this.#wake();
      },
      settled: () => {
        this.settled++;
        this.#wake();
      },
    });
  }

  async open(): Promise<this> {
    const control = await this.#socket((asked) => {
      this.asked.push(asked);
      return this.control(asked);
    });
    const discovery = await this.#socket((asked) => this.discovery(asked));
    this.#server.listen(0, HOST);
    await once(this.#server, 'listening');
    this.#gateway = { own: HOST, control, discovery: [discovery] };
    return this;
  }

  get location(): string {
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}/root.xml`;
  }

  loseGateway(): void {
    this.#gateway = undefined;
  }

  /** Resolves once it is so; the test's time limit is the only one. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => this.#wakers.push(resolve));
  }

  async close(): Promise<void> {
    await this.mapper.close();
    for (const socket of this.#sockets) socket.close();
    this.#server.closeAllConnections();
    this.#server.close();
    // Nothing is left that would wake up later.
    expect(this.clock.nextAt).toBeUndefined();
  }

  async #socket(reply: Reply): Promise<{ host: string; port: number }> {
    const socket = createSocket('udp4');
    this.#sockets.push(socket);
    socket.on('message', (asked, { port, address }) => {
      for (const answer of reply(asked)) socket.send(answer, port, address);
      this.#wake();
    });
    socket.bind(0, HOST);
    await once(socket, 'listening');
    return { host: HOST, port: socket.address().port };
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}

let home: Home;

afterEach(() => home.close());

/** Grants whatever PCP asks for. */
function grant(asked: Buffer, port = 6000): readonly Buffer[] {
  if (asked[0] !== 2) return [];
  const answer = Buffer.from(asked);
  answer[1] = PCP_ANSWER_BIT | 1;
  answer[3] = 0;
  answer.writeUInt16BE(port, 42);
  answer.set(Buffer.from(EXTERNAL.split('.').map(Number)), 56);
  return [answer];
}

function searchAnswer(location: string): readonly Buffer[] {
  return [Buffer.from(`HTTP/1.1 200 OK\r\nLOCATION: ${location}\r\n\r\n`)];
}

/** A gateway that speaks UPnP, with these answers to what is called. */
function upnp(
  answers: Readonly<Record<string, (body: string) => readonly [number, string]>>,
): void {
  home.discovery = () => searchAnswer(home.location);
  home.web = (_request, body, response) => {
    const action = /<u:(\w+)/.exec(body)?.[1];
    if (action === undefined) {
      const service = `<serviceType>${WAN_IP}</serviceType><controlURL>/ctl</controlURL>`;
      response.end(`<root><service>${service}</service></root>`);
    } else if (action === 'GetExternalIPAddress') {
      response.end(`<NewExternalIPAddress>${EXTERNAL}</NewExternalIPAddress>`);
    } else {
      const [status, text] = answers[action]?.(body) ?? [200, '<ok/>'];
      response.writeHead(status).end(text);
    }
  };
}

/** What is asked by then, PCP and NAT-PMP have not answered. */
async function passControl(): Promise<void> {
  home.mapper.begin(PORT);
  await home.until(() => home.asked.length >= 2);
  home.clock.runUntil(home.clock.now() + 250);
}

describe('a router on the way', () => {
  it('gives a port by PCP, and is given it back', async () => {
    home = await new Home().open();
    home.control = grant;
    home.mapper.begin(PORT);
    await home.until(() => home.mappings.length > 0);
    expect(home.mappings).toEqual([{ protocol: 'pcp', external: { host: EXTERNAL, port: 6000 } }]);
    await home.mapper.close();
    const isRelease = (asked: Buffer): boolean =>
      asked.length === 60 && asked.readUInt32BE(4) === 0;
    await home.until(() => home.asked.some(isRelease));
    expect(home.asked.find(isRelease)?.readUInt16BE(40)).toBe(PORT);
  });

  it('gives a port by UPnP, and is given it back', async () => {
    home = await new Home().open();
    upnp({});
    await passControl();
    await home.until(() => home.mappings.length > 0);
    expect(home.mappings).toEqual([{ protocol: 'upnp', external: { host: EXTERNAL, port: PORT } }]);
    await home.mapper.close();
    expect(home.calls.slice(2)).toEqual(['POST AddPortMapping', 'GET', 'POST DeletePortMapping']);
  });

  it('gives another port where somebody else has that one', async () => {
    home = await new Home().open();
    const ports: string[] = [];
    upnp({
      AddPortMapping: (body) => {
        ports.push(/<NewExternalPort>(\d+)/.exec(body)?.[1] ?? '');
        return ports.length < 3 ? [500, '<errorCode>718</errorCode>'] : [200, ''];
      },
    });
    await passControl();
    await home.until(() => home.mappings.length > 0);
    expect(ports[0]).toBe(String(PORT));
    expect(new Set(ports).size).toBe(3);
    expect(home.mappings[0]?.external.port).toBe(Number(ports[2]));
  });

  it.each([
    ['gives ports only for ever', '725', 3],
    ['has none left', '718', 5],
  ])('is left alone where it %s', async (_name, code, calls) => {
    home = await new Home().open();
    upnp({ AddPortMapping: () => [500, `<errorCode>${code}</errorCode>`] });
    await passControl();
    await home.until(() => home.settled > 0);
    expect(home.mappings).toEqual([]);
    expect(home.calls).toHaveLength(calls);
  });

  it('is asked anew when the network changes, and what it gave stays until then', async () => {
    home = await new Home().open();
    home.control = grant;
    home.mapper.begin(PORT);
    await home.until(() => home.mappings.length > 0);
    home.control = (asked) => grant(asked, 6001);
    home.mapper.networkChanged();
    await home.until(() => home.mappings.length > 1);
    home.loseGateway();
    home.mapper.networkChanged();
    await home.until(() => home.mappings.length > 2);
    expect(home.mappings.map((mapping) => mapping?.external.port)).toEqual([6000, 6001, undefined]);
  });

  it('is never asked where there is none', async () => {
    home = await new Home().open();
    home.loseGateway();
    home.mapper.begin(PORT);
    await home.until(() => home.settled > 0);
    expect(home.asked).toEqual([]);
  });
});

describe('a hostile router', () => {
  it('that floods, and then is silent, costs nothing', async () => {
    home = await new Home().open();
    const junk = seededRandom(7);
    home.control = () => Array.from({ length: 500 }, () => Buffer.from(junk.bytes(junk.below(80))));
    home.discovery = () => [
      ...Array.from({ length: 500 }, () => Buffer.from(junk.bytes(junk.below(3_000)))),
      ...searchAnswer('http://203.0.113.9/'),
    ];
    await passControl();
    home.clock.runUntil(home.clock.now() + 5_000);
    await home.until(() => home.settled > 0);
    expect(home.mappings).toEqual([]);
    expect(home.calls).toEqual([]);
  });

  it('that grants a port from another one than was asked is not believed', async () => {
    home = await new Home().open();
    home.mapper.begin(PORT);
    await home.until(() => home.asked.length >= 2);
    let lies = 0;
    home.discovery = () => home.asked.flatMap((asked) => grant(asked, 6666 + lies++));
    home.clock.runUntil(100);
    await home.until(() => lies > 0);
    home.control = grant;
    home.mapper.networkChanged();
    await home.until(() => home.mappings.length > 0);
    expect(home.mappings[0]?.external.port).toBe(6000);
  });

  it.each([
    [
      'describes itself without end',
      (response: ServerResponse) => {
        const more = (): void => {
          while (!response.destroyed && response.write('<service>'.repeat(1_000)));
        };
        response.on('drain', more);
        more();
      },
    ],
    ['hangs up', (response: ServerResponse) => response.destroy()],
    [
      'sends us elsewhere',
      (response: ServerResponse) => response.writeHead(302, { Location: 'http://[::1]/' }).end(),
    ],
    ['describes nothing', (response: ServerResponse) => response.end('<root/>')],
  ])('that %s is given up', async (_name, web) => {
    home = await new Home().open();
    home.discovery = () => searchAnswer(home.location);
    home.web = (_request, _body, response) => web(response);
    await passControl();
    await home.until(() => home.settled > 0);
    expect(home.calls).toEqual(['GET']);
    expect(home.mappings).toEqual([]);
  });

  it('that never answers by UPnP is given up after 3 s', async () => {
    home = await new Home().open();
    home.discovery = () => searchAnswer(home.location);
    const asked = new Promise<void>((resolve) => (home.web = () => resolve()));
    await passControl();
    await asked;
    home.clock.runUntil(home.clock.now() + 3_000);
    await home.until(() => home.settled > 0);
    expect(home.mappings).toEqual([]);
  });

  it('that does not take its port back holds nobody up for more than half a second', async () => {
    home = await new Home().open();
    upnp({});
    await passControl();
    await home.until(() => home.mappings.length > 0);
    const asked = new Promise<void>((resolve) => (home.web = () => resolve()));
    const closed = home.mapper.close();
    await asked;
    home.clock.runUntil(home.clock.now() + 500);
    await closed;
  });
});
