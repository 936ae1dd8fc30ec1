import { expect, test } from 'vitest';
import type { ProbeResult } from './probe.ts';
import { complaint, questions, type Origin, type Role, type Way } from './security-matrix.ts';

type Case = [from: Origin, way: Way, role: Role, protocol: 'tcp' | 'udp', port: number];

test.each<[string, ...Case, ProbeResult]>([
  ['the world talks to servers', 'internet', 'public', 'server', 'udp', 4433, 'open'],
  ['a worker that is not there is no fault', 'internet', 'ipv6', 'server', 'udp', 4440, 'refused'],
  ['SSH is closed', 'internet', 'public', 'server', 'tcp', 22, 'silent'],
  ['servers register at balancers', 'server', 'private', 'balancer', 'tcp', 50051, 'open'],
  ['but not by a public address', 'server', 'public', 'balancer', 'tcp', 50051, 'silent'],
  ['balancers do not register', 'balancer', 'private', 'balancer', 'tcp', 50051, 'silent'],
])('has nothing against it: %s', (_, from, way, role, protocol, port, result) => {
  expect(complaint(question(from, way, role, protocol, port), result)).toBeUndefined();
});

test.each<[string, ...Case, ProbeResult]>([
  ['nothing gets through', 'internet', 'public', 'server', 'udp', 4433, 'silent'],
  ['no program listens', 'internet', 'public', 'server', 'udp', 4433, 'refused'],
  ['is to be closed', 'internet', 'public', 'balancer', 'tcp', 50051, 'open'],
  ['is to be closed', 'balancer', 'private', 'server', 'tcp', 9464, 'refused'],
])('complains: %s', (words, from, way, role, protocol, port, result) => {
  expect(complaint(question(from, way, role, protocol, port), result)).toContain(words);
});

function question(from: Origin, way: Way, role: Role, protocol: string, port: number) {
  const asked = questions(from, way, { name: 'i-1', role, address: '192.0.2.1' });
  const found = asked.find((one) => one.protocol === protocol && one.port === port);
  if (found === undefined) throw new Error('it is not asked');
  return found;
}
