import type { Cell } from './cells.ts';
import { type Behaviour, modelOf } from './router-types.ts';

/** What a program must be able to do for an outcome. */
export type Need =
  | 'sequential-ports'
  | 'random-ports'
  | 'relay'
  | 'tunnel'
  /** To know whose network it is that stands in the way. */
  | 'blame'
  /** Where a router has answered a packet that came early, another port has to be opened. */
  | 'reopening';

/** How two people ought to end up. */
export interface Expectation {
  readonly outcome: 'direct' | 'relayed';
  /** Why it goes, or why it cannot be direct. */
  readonly reason: string;
  readonly needs: readonly Need[];
  /** Of what cannot be direct: whose network stands in the way. */
  readonly blame?: 'a' | 'b' | 'both';
}

/** Derived from what the networks do, and nothing else. */
export function expectationOf(cell: Cell): Expectation {
  switch (cell.together) {
    case 'one-lan':
      return direct('they are neighbours on one LAN');
    case 'isolated-lan':
    case 'one-carrier':
      return cell.hairpin
        ? direct('the router they share sends back what is for its own outer address')
        : relayed(
            'both',
            'they see one router from inside, which lets them reach each other neither behind it nor by its outer address',
            ['blame'],
          );
    case 'apart':
      return apart(modelOf(cell.a).claim, modelOf(cell.b).claim);
  }
}

/** Two people whose networks have nothing to do with each other. */
export function apart(a: Behaviour, b: Behaviour): Expectation {
  if (a.ipv6 !== 'none' && b.ipv6 !== 'none') {
    return direct('both have IPv6, and firewalls let answers in');
  }
  const silent = blameOf(a.udp === 'none', b.udp === 'none');
  if (silent !== undefined) return relayed(silent, 'no UDP leaves the network', ['tunnel']);
  const strict = blameOf(a.udp === '443', b.udp === '443');
  if (strict !== undefined) {
    return relayed(strict, 'UDP leaves to port 443 only, where no friend listens', ['blame']);
  }
  const [one, other] = [portsOf(a), portsOf(b)];
  if (one === 'known') {
    return other === 'known' ? direct('each has one outer port for everybody') : guessing(a, other);
  }
  if (other === 'known') return guessing(b, one);
  if (one === 'sequential' && other === 'sequential') {
    return direct('both count their ports up, so both can be foreseen', ['sequential-ports']);
  }
  return relayed(
    blameOf(one === 'random', other === 'random') ?? 'both',
    one === other
      ? 'both have another random port for everybody: 2³² pairs of ports'
      : 'one has a random port for everybody, the other another port for each try: what one aims at is gone',
  );
}

/** One side's outer port is known, the other's is another one for everybody. */
function guessing(known: Behaviour, ports: 'sequential' | 'random'): Expectation {
  if (known.ipv4?.filtering !== 'address-and-port') {
    return direct('one lets in whatever port the other comes from');
  }
  return ports === 'sequential'
    ? direct('the next port can be foreseen', ['sequential-ports'])
    : direct('many ports against one: the birthday paradox', ['random-ports']);
}

function portsOf({ ipv4 }: Behaviour): 'known' | 'sequential' | 'random' {
  if (ipv4?.mapping !== 'address-and-port') return 'known';
  return ipv4.ports === 'sequential' ? 'sequential' : 'random';
}

function blameOf(a: boolean, b: boolean): Expectation['blame'] {
  if (a && b) return 'both';
  return a ? 'a' : b ? 'b' : undefined;
}

function direct(reason: string, needs: readonly Need[] = []): Expectation {
  return { outcome: 'direct', reason, needs };
}

function relayed(
  blame: 'a' | 'b' | 'both',
  reason: string,
  needs: readonly Need[] = [],
): Expectation {
  return { outcome: 'relayed', reason, needs: ['relay', ...needs], blame };
}

/** The same for two behind Linux masquerade of whom one is late: its router has moved its mapping. */
export const LATE: Expectation = direct('another port can be opened in time', ['reopening']);

/** How two people end up. */
export type Outcome = 'direct' | 'relayed' | 'failed';

/** Whose network stands in the way, as each of the two ought to say. */
export function obstaclesOf({ blame }: Expectation): readonly [a: string, b: string] {
  if (blame === undefined) return ['unknown', 'unknown'];
  if (blame === 'both') return ['both', 'both'];
  return blame === 'a' ? ['own', 'friend'] : ['friend', 'own'];
}
