import { expect, it } from 'vitest';
import { formatAddress } from '../../../src/base/address.ts';
import type { Candidate } from '../../../src/path/candidate.ts';
import { address, candidate, Harness, LAN, parsed, PUBLIC } from './agent-harness.ts';

const EXTRA = address('0.0.0.0:50001');

/** An agent whose ordinary checks have all been in vain. */
function inVain(...candidates: readonly Candidate[]): Harness {
  const harness = new Harness(candidates);
  harness.runUntil(20_000);
  return harness;
}

it('no port is guessed but at an address that servers saw the friend at in this match', () => {
  const harness = inVain(candidate('srflx', PUBLIC), candidate('host', LAN));
  for (const text of ['192.0.2.66:4000', '192.168.1.7:4000', '198.51.100.7:80', '224.0.0.1:4000']) {
    expect(harness.step({ type: 'guess', remote: address(text) }), text).toEqual([]);
  }
  const [sent] = harness.step({ type: 'guess', remote: address('198.51.100.7:4000') });
  expect(sent).toMatchObject({ type: 'send', remote: address('198.51.100.7:4000') });
});

it('a thousand guesses make no pair, and one that is answered makes one', () => {
  const harness = inVain(candidate('srflx', PUBLIC));
  for (let port = 2000; port < 3000; port++) {
    harness.step({ type: 'guess', remote: address(`198.51.100.7:${port}`) });
  }
  expect(harness.agent.paths).toEqual([]);
  harness.now += 80;
  const hit = '198.51.100.7:2999';
  harness.receive(harness.answer(hit), hit);
  expect(harness.agent.paths.map(({ remote }) => formatAddress(remote))).toEqual([hit]);
});

it('a path through a further socket is another than the one through ours, and ends with it', () => {
  const harness = inVain(candidate('srflx', PUBLIC));
  const remote = address(PUBLIC);
  harness.step({ type: 'guess', remote, local: EXTRA });
  harness.now += 80;
  const answer = harness.answer(PUBLIC);
  // The answer to what was asked from one socket counts at no other.
  harness.receive(answer, PUBLIC);
  expect(harness.agent.classOf(remote)).toBeUndefined();
  expect(harness.agent.isHeardAt(EXTRA)).toBe(false);
});

it('a socket that is closed takes its path with it', () => {
  const harness = inVain(candidate('srflx', PUBLIC));
  const remote = address(PUBLIC);
  const effects = harness.step({ type: 'guess', remote, local: EXTRA });
  expect(effects[0]).toMatchObject({ type: 'send', local: EXTRA });
  harness.now += 80;
  const raw = harness.answer(PUBLIC);
  harness.step({ type: 'stun', message: parsed(raw), remote, local: EXTRA });
  expect(harness.agent.selected()).toMatchObject({ local: EXTRA, via: 'udp' });
  expect(harness.agent.classOf(remote, EXTRA)).toBe('public');
  expect(harness.agent.classOf(remote)).toBeUndefined();
  harness.step({ type: 'socket-closed', local: EXTRA });
  expect(harness.agent.selected()).toBeUndefined();
});
