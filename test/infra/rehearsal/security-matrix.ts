import type { Probe, ProbeResult } from './probe.ts';

export type Role = 'balancer' | 'server';
/** From where a probe is made. */
export type Origin = 'internet' | Role;
/** Which of a host's addresses is asked. */
export type Way = 'public' | 'private' | 'ipv6';
export type Question = Probe & { from: Origin; to: string; role: Role; way: Way };

/** A row of the table: who may reach what, and which of it has to be answered. */
type Row = {
  role: Role;
  protocol: 'tcp' | 'udp';
  ports: readonly [first: number, last: number];
  from: readonly Origin[];
  answered: readonly number[];
};

/** The security matrix of the design, put down here once more and not taken from `infra`. */
const ROWS: readonly Row[] = [
  {
    ...{ role: 'balancer', protocol: 'tcp', ports: [50050, 50050] },
    ...{ from: ['internet', 'balancer', 'server'], answered: [50050] },
  },
  {
    ...{ role: 'balancer', protocol: 'tcp', ports: [50051, 50051] },
    ...{ from: ['server'], answered: [50051] },
  },
  {
    ...{ role: 'server', protocol: 'udp', ports: [4433, 4440] },
    ...{ from: ['internet', 'balancer', 'server'], answered: [4433] },
  },
  {
    ...{ role: 'server', protocol: 'udp', ports: [443, 443] },
    ...{ from: ['internet', 'balancer', 'server'], answered: [443] },
  },
  {
    ...{ role: 'server', protocol: 'tcp', ports: [4433, 4440] },
    ...{ from: ['internet', 'balancer', 'server'], answered: [4433] },
  },
  {
    ...{ role: 'server', protocol: 'tcp', ports: [443, 443] },
    ...{ from: ['internet', 'balancer', 'server'], answered: [443] },
  },
  {
    ...{ role: 'server', protocol: 'tcp', ports: [50051, 50058] },
    ...{ from: ['balancer', 'server'], answered: [50051] },
  },
];

/** What is asked of every host: the ends of every range, what lies beside them, and the rest. */
const ASKED = {
  tcp: [22, 80, 443, 4432, 4433, 4440, 4441, 9464, 50049, 50050, 50051, 50052, 50058, 50059],
  udp: [53, 443, 444, 4432, 4433, 4434, 4440, 4441, 50051],
} as const;

/** All that is to be asked of a host from this place. */
export function questions(
  from: Origin,
  way: Way,
  host: { name: string; role: Role; address: string },
): Question[] {
  const { name, role, address } = host;
  return (['tcp', 'udp'] as const).flatMap((protocol) =>
    ASKED[protocol].map((port) => ({ from, way, to: name, role, protocol, address, port })),
  );
}

/** What is wrong with a result, in a sentence; undefined where it is as the matrix has it. */
export function complaint(question: Question, result: ProbeResult): string | undefined {
  const { from, to, role, protocol, port, way } = question;
  const rows = ROWS.filter(
    (row) =>
      row.role === role &&
      row.protocol === protocol &&
      port >= row.ports[0] &&
      port <= row.ports[1] &&
      // Groups are known by private addresses: who comes by the public one comes from the world.
      row.from.includes(way === 'public' ? 'internet' : from),
  );
  const what = `${protocol} ${port} of ${to} (${way}) from ${ORIGINS[from]}`;
  if (rows.length === 0) {
    return result === 'silent' ? undefined : `${what} is to be closed, and is reached (${result})`;
  }
  if (result === 'silent') return `${what} is to be open, and nothing gets through`;
  const isDue = rows.some(({ answered }) => answered.includes(port));
  if (result === 'refused' && isDue) {
    return `${what} gets through the security group, but no program listens on that port`;
  }
  return undefined;
}

const ORIGINS: Readonly<Record<Origin, string>> = {
  internet: 'the internet',
  balancer: 'a load balancer',
  server: 'a rendezvous server',
};
