import type { Diagnosis } from './network-diagnosis.ts';

const MAPPINGS: Readonly<Record<Diagnosis['ipv4']['mapping'], string>> = {
  none: 'none: this computer has the public address itself',
  'endpoint-independent': 'endpoint-independent: one outer port for everybody',
  sequential: 'sequential: another outer port for everybody, which can be foreseen',
  random: 'random: another outer port for everybody, which cannot be foreseen',
  unknown: 'not known: too few servers answered',
};
const UDP: Readonly<Record<Diagnosis['udp'], string>> = {
  open: 'gets through',
  '443-only': 'gets through to port 443 only',
  blocked: 'does not get through',
};
const IPV6: Readonly<Record<Diagnosis['ipv6'], string>> = {
  works: 'works: a server answered',
  'no-answer': 'this computer has an address, but no server answered there',
  none: 'none',
};
const REACHES: Readonly<Record<Diagnosis['reach']['ordinary'], string>> = {
  direct: '●  direct',
  'direct-after-guessing': '◐  direct, once ports are guessed',
  relay: '○  over a relay, encrypted',
  unknown: '?  not known',
};
const FRIENDS: readonly (readonly [keyof Diagnosis['reach'], string])[] = [
  ['ordinary', 'an ordinary home'],
  ['sequential', 'a router that counts ports up'],
  ['random', 'a router with random ports'],
  ['udp-443', 'UDP to port 443 only'],
  ['no-udp', 'no UDP'],
];
const COLUMN = 32;

/** A diagnosis for a person: drawn, then in words, then what it means. */
export function describeDiagnosis(diagnosis: Diagnosis): string[] {
  const { ipv4, reach } = diagnosis;
  return [
    ...drawing(diagnosis),
    '',
    `  UDP             ${UDP[diagnosis.udp]}${tunnelNote(diagnosis)}`,
    `  NAT, mapping    ${MAPPINGS[ipv4.mapping]}${mappingNote(ipv4)}`,
    `  NAT, filtering  ${filtering(ipv4)}`,
    `  hairpinning     ${hairpinning(ipv4)}`,
    `  IPv6            ${IPV6[diagnosis.ipv6]}`,
    `  port mapping    ${portMapping(diagnosis.portMapping)}`,
    '  same network    whether neighbours reach each other cannot be told from one computer',
    '',
    'A friend on your own network is reached directly unless the network keeps its computers apart.',
    'Elsewhere:',
    ...FRIENDS.map(([kind, name]) => `  ${name.padEnd(COLUMN)}${REACHES[reach[kind]]}`),
    '',
    ...advice(diagnosis),
  ];
}

function drawing({ udp, ipv4, servers }: Diagnosis): string[] {
  const answered = servers.filter(({ ms }) => ms !== null);
  const fastest = Math.min(...answered.map(({ ms }) => ms ?? Infinity));
  const word = { open: '═════', '443-only': '═443═', blocked: '══╳══' }[udp];
  const router = ipv4.mapping === 'none' ? '═══════' : '[ NAT ]';
  const seen = ipv4.publicAddress ?? 'nobody sees you';
  const time = answered.length === 0 ? 'no answer' : `${fastest} ms`;
  return [
    `  you ══════ ${router} ${word} internet ═════ servers`,
    `             ${seen.padEnd(30)}${answered.length} of ${servers.length} addresses, ${time}`,
  ];
}

function tunnelNote({ tunnel }: Diagnosis): string {
  if (tunnel === null) return '';
  return tunnel ? '; TCP does, so servers carry everything' : ', and neither does TCP';
}

function mappingNote({
  mapping,
  step,
  dependence,
  observers,
  portPreserving,
}: Diagnosis['ipv4']): string {
  if (mapping === 'none' || mapping === 'unknown') return '';
  const facts = [
    `${observers} observers`,
    ...(step === null ? [] : [`step ${step}`]),
    ...(mapping === 'endpoint-independent' && portPreserving === true ? ['ports kept'] : []),
    ...(dependence === null || dependence === mapping ? [] : [dependence]),
  ];
  return ` (${facts.join(', ')})`;
}

function filtering({ mapping, filtering: state }: Diagnosis['ipv4']): string {
  if (state === 'endpoint-independent')
    return 'endpoint-independent: anybody gets in to an open port';
  if (state === 'dependent') return 'only those that this computer has sent to get in';
  return mapping === 'none' ? 'a firewall may be there: not seen from here' : 'not seen from here';
}

function hairpinning({ hairpinning: works }: Diagnosis['ipv4']): string {
  if (works === null) return 'not tried';
  return works
    ? 'yes: the router sends back what is for its own outer address'
    : 'no: neighbours do not reach each other by the outer address';
}

const GIVERS = { pcp: 'PCP', 'nat-pmp': 'NAT-PMP', upnp: 'UPnP' } as const;

function portMapping({ by, usable }: Diagnosis['portMapping']): string {
  if (by === 'not-tried') return 'not tried';
  if (by === 'none') return 'no: the router gives out no port by PCP, NAT-PMP or UPnP';
  return usable === true
    ? `${GIVERS[by]} yes: the router leads a port of its own here`
    : `${GIVERS[by]}, of no use: behind the router that answers is another one`;
}

function advice({ udp, tunnel, ipv4, ipv6, portMapping: { usable } }: Diagnosis): string[] {
  if (udp === 'blocked') {
    return tunnel === true
      ? ['This network blocks UDP. Talk goes over servers; another network would make it direct.']
      : ['No server answers by UDP or TCP. Check the connection, or try another network.'];
  }
  if (udp === '443-only') {
    return [
      'This network lets UDP out to port 443 only, where no friend listens: talk is relayed.',
    ];
  }
  if (usable === true && (ipv4.mapping === 'random' || ipv4.mapping === 'sequential')) {
    return [
      'Your router hides your port from friends, but gives you one that they reach directly.',
    ];
  }
  const otherwise = ipv6 === 'works' ? ' Friends with IPv6 are reached directly anyway.' : '';
  if (ipv4.mapping === 'random') {
    return [
      'Your router hides your port from friends. Two such networks cannot reach each other directly.',
      `IPv6, or "UPnP" or "full cone" in the router's settings, would change that.${otherwise}`,
    ];
  }
  if (ipv4.mapping === 'sequential') {
    return [
      `Your router moves your port, but foreseeably: friends find it in half a second.${otherwise}`,
    ];
  }
  return ipv4.mapping === 'unknown'
    ? ['More servers are needed to say what your router does.']
    : [];
}
