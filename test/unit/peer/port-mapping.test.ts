import { describe, expect, it } from 'vitest';
import {
  type MappedPort,
  natPmpAddressRequest,
  natPmpMapRequest,
  pcpMapRequest,
} from '../../../src/peer/port-control-message.ts';
import {
  PortMapping,
  type PortMappingEffect,
  type PortMappingInput,
} from '../../../src/peer/port-mapping.ts';

const PORT: MappedPort = { own: '192.168.1.10', port: 5000, nonce: new Uint8Array(12) };
const EXTERNAL = { host: '203.0.113.7', port: 6000 };
const OTHER = { host: '203.0.113.7', port: 6001 };
const LOCATION = 'http://192.168.1.1/root.xml';
const HOUR_MS = 3_600_000;
const NONE = { host: '0.0.0.0', port: PORT.port };

const search: PortMappingEffect = { type: 'search' };
const settled: PortMappingEffect = { type: 'settled' };
const askPcp = send(pcpMapRequest(PORT, NONE, HOUR_MS));
const askAddress = send(natPmpAddressRequest());
const askNatPmp = send(natPmpMapRequest(PORT.port, PORT.port, HOUR_MS));
const igdMap: PortMappingEffect = {
  ...{ type: 'igd-map', location: LOCATION },
  ...{ externalPort: PORT.port, lifetimeMs: HOUR_MS },
};
const igdFound: PortMappingInput = { type: 'igd-found', location: LOCATION };

function send(datagram: Uint8Array): PortMappingEffect {
  return { type: 'send', datagram };
}

function answer(given: Extract<PortMappingInput, { type: 'answer' }>['answer']): PortMappingInput {
  return { type: 'answer', answer: given };
}

const pcpRefused = answer({ kind: 'pcp-refused' });
const natPmpRefused = answer({ kind: 'nat-pmp-refused' });
const address = answer({ kind: 'nat-pmp-address', host: EXTERNAL.host });

function pcpMapped(external = EXTERNAL, lifetimeMs = HOUR_MS): PortMappingInput {
  return answer({ kind: 'pcp-mapped', external, lifetimeMs });
}

/** Inputs by time, and what comes of each; `tick` at each deadline until the last one. */
class Run {
  readonly mapping = new PortMapping(PORT);
  readonly log: [number, PortMappingEffect][] = [];
  #now = 0;

  constructor() {
    this.step({ type: 'begin' });
  }

  step(input: PortMappingInput): this {
    for (const effect of this.mapping.step(input, this.#now)) this.log.push([this.#now, effect]);
    return this;
  }

  until(at: number): this {
    while (this.mapping.nextDeadline <= at) {
      expect(this.mapping.nextDeadline).toBeGreaterThanOrEqual(this.#now);
      this.#now = this.mapping.nextDeadline;
      this.step({ type: 'tick' });
    }
    this.#now = at;
    return this;
  }

  get effects(): PortMappingEffect[] {
    return this.log.splice(0).map(([, effect]) => effect);
  }
}

describe('a port of the router', () => {
  it('is asked for by PCP, while NAT-PMP and UPnP are only looked for', () => {
    const run = new Run();
    expect(run.effects).toEqual([search, askPcp, askAddress]);
    run.until(3).step(address).step(igdFound).step(pcpMapped());
    expect(run.effects).toEqual([
      { type: 'mapped', mapping: { protocol: 'pcp', external: EXTERNAL } },
      settled,
    ]);
  });

  it('is asked for by NAT-PMP where PCP is refused', () => {
    const run = new Run().until(3).step(address).step(pcpRefused);
    expect(run.effects.slice(3)).toEqual([askNatPmp]);
    run.step(answer({ kind: 'nat-pmp-mapped', port: EXTERNAL.port, lifetimeMs: HOUR_MS }));
    expect(run.effects).toEqual([
      { type: 'mapped', mapping: { protocol: 'nat-pmp', external: EXTERNAL } },
      settled,
    ]);
  });

  it('is asked for by NAT-PMP where PCP is not answered in time', () => {
    const run = new Run().until(3).step(address);
    expect(run.effects.slice(3)).toEqual([]);
    expect(run.until(100).effects).toEqual([search, askPcp, askNatPmp]);
  });

  it.each([
    ['neither is answered', (run: Run) => run.until(250)],
    ['both are refused', (run: Run) => run.until(3).step(pcpRefused).step(natPmpRefused)],
  ])('is asked for by UPnP where %s', (_name, silence) => {
    const run = silence(new Run().step(igdFound));
    expect(run.effects.at(-1)).toEqual(igdMap);
    run.step({ type: 'igd-mapped', external: EXTERNAL, lifetimeMs: HOUR_MS });
    expect(run.effects).toEqual([
      { type: 'mapped', mapping: { protocol: 'upnp', external: EXTERNAL } },
      settled,
    ]);
  });

  it('is asked for once by UPnP, when that is found late', () => {
    const run = new Run().until(900).step(igdFound).step(igdFound);
    expect(run.effects.filter(({ type }) => type === 'igd-map')).toEqual([igdMap]);
  });

  it.each([
    ['nobody answers', [], 1_500],
    ['UPnP does not end', [igdFound], 4_000],
  ] as const)('is given up when %s, and not asked for again', (_name, inputs, endsAt) => {
    const run = new Run();
    for (const input of inputs) run.step(input);
    run.until(10 * HOUR_MS);
    expect(run.log.at(-1)).toEqual([endsAt, settled]);
  });

  it('is given up when UPnP refuses', () => {
    const run = new Run().step(igdFound).until(300).step({ type: 'igd-failed' });
    expect(run.effects.at(-1)).toEqual(settled);
    expect(run.mapping.nextDeadline).toBe(Infinity);
  });

  it('is kept: asked for again after half its time, by the same name', () => {
    const run = new Run().step(pcpMapped());
    run.log.length = 0;
    run.until(HOUR_MS / 2);
    expect(run.log[1]).toEqual([HOUR_MS / 2, send(pcpMapRequest(PORT, EXTERNAL, HOUR_MS))]);
    run.log.length = 0;
    expect(run.step(pcpMapped()).effects).toEqual([settled]);
    expect(run.until(HOUR_MS).effects).not.toContainEqual({ type: 'mapped', mapping: undefined });
  });

  it('is another one when the router says so', () => {
    const run = new Run().step(pcpMapped()).until(HOUR_MS / 2);
    run.log.length = 0;
    const mapping = { protocol: 'pcp', external: OTHER };
    expect(run.step(pcpMapped(OTHER)).effects).toEqual([{ type: 'mapped', mapping }, settled]);
  });

  it('is gone when its time is over, and asked for in between ever more often', () => {
    const run = new Run().step(pcpMapped(EXTERNAL, 400_000));
    run.log.length = 0;
    run.until(HOUR_MS);
    const rounds = run.log.filter(([, { type }]) => type === 'settled').map(([at]) => at);
    expect(rounds.slice(0, 3)).toEqual([201_500, 302_250, 352_625]);
    expect(run.log.filter(([, { type }]) => type === 'mapped')).toEqual([
      [400_000, { type: 'mapped', mapping: undefined }],
    ]);
  });

  it('is not asked for all the time when the router gives it for a second', () => {
    const run = new Run().step(pcpMapped(EXTERNAL, 1_000));
    run.log.length = 0;
    run.until(HOUR_MS);
    expect(run.log).toEqual([[1_000, { type: 'mapped', mapping: undefined }]]);
  });

  it('is renewed within the hour when the router gives it for ever', () => {
    const run = new Run().step(pcpMapped(EXTERNAL, 2 ** 32 * 1000));
    expect(run.mapping.nextDeadline).toBe(HOUR_MS / 2);
  });

  it('is not had by answers that nobody asked for', () => {
    const run = new Run();
    run.step(answer({ kind: 'nat-pmp-mapped', port: 1, lifetimeMs: HOUR_MS }));
    run.step(igdFound).step({ type: 'igd-mapped', external: EXTERNAL, lifetimeMs: HOUR_MS });
    run.step({ type: 'igd-failed' });
    expect(run.effects.filter(({ type }) => type === 'mapped' || type === 'settled')).toEqual([]);
    run.until(4_000);
    run.log.length = 0;
    for (let count = 0; count < 1_000; count++) run.step(address).step(pcpMapped()).step(igdFound);
    expect(run.effects.filter(({ type }) => type === 'mapped' || type === 'igd-map')).toEqual([]);
  });

  it('costs a question more at most, however often the router refuses or confirms', () => {
    const run = new Run();
    for (let count = 0; count < 1_000; count++) run.step(address).step(pcpRefused);
    expect(run.effects.filter(({ type }) => type === 'send')).toHaveLength(3);
  });

  it.each([
    ['PCP', [pcpMapped()], send(pcpMapRequest(PORT, EXTERNAL, 0))],
    [
      'NAT-PMP',
      [address, answer({ kind: 'nat-pmp-mapped', port: EXTERNAL.port, lifetimeMs: HOUR_MS })],
      send(natPmpMapRequest(PORT.port, 0, 0)),
    ],
    [
      'UPnP',
      [
        ...[igdFound, pcpRefused, natPmpRefused],
        { type: 'igd-mapped', external: EXTERNAL, lifetimeMs: HOUR_MS } as const,
      ],
      { type: 'igd-unmap', location: LOCATION, externalPort: EXTERNAL.port },
    ],
  ] as const)('is given back once, by %s', (_name, inputs, effect) => {
    const run = new Run();
    for (const input of inputs) run.step(input);
    expect([run.mapping.release(), run.mapping.release()]).toEqual([[effect], []]);
    expect(run.mapping.nextDeadline).toBe(Infinity);
  });
});
