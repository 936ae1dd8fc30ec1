import { formatAddress } from '../base/address.ts';
import { ServerState, type StatusResponse } from '../rpc/generated/chatty/v1/operations.ts';
import { addressesFromWire } from '../rpc/wire-address.ts';

/** A server as one load balancer sees it; times in milliseconds. */
interface SeenServer {
  readonly id: string;
  readonly incarnation: string;
  readonly state: SeenState;
  readonly peers: readonly string[];
  readonly cluster: readonly string[];
  readonly lastCheck: { readonly result: string; readonly msAgo: number } | null;
  readonly renewedMsAgo: number;
  readonly leaseLeftMs: number;
}

type SeenState = 'starting' | 'listed' | 'suspect' | 'unknown';

/** What one load balancer, by its cluster address, said of the cluster; or why it said nothing. */
export type BalancerView =
  | {
      readonly balancer: string;
      readonly answered: true;
      /** Its addresses for peers. */
      readonly advertised: readonly string[];
      readonly doubtsItself: boolean;
      readonly servers: readonly SeenServer[];
    }
  | { readonly balancer: string; readonly answered: false; readonly reason: string };

/** A server that some balancers hand out to peers and others do not, or know in another form. */
interface Disagreement {
  readonly id: string;
  readonly peers: readonly string[];
  /** By the balancer's address: the state, or `absent`. */
  readonly states: Readonly<Record<string, SeenState | 'absent'>>;
}

export interface ClusterStatus {
  /** Whether all balancers that answered agree. */
  readonly agree: boolean;
  readonly balancers: readonly BalancerView[];
  readonly disagreements: readonly Disagreement[];
}

const STATES: readonly (readonly [ServerState, SeenState])[] = [
  [ServerState.SERVER_STATE_STARTING, 'starting'],
  [ServerState.SERVER_STATE_LISTED, 'listed'],
  [ServerState.SERVER_STATE_SUSPECT, 'suspect'],
];
/** A server has a few addresses; an answer is not trusted to keep to that. */
const MAX_ADDRESSES = 16;

/** Reads a load balancer's answer. */
export function viewFromWire(balancer: string, response: StatusResponse): BalancerView {
  const servers = response.servers.map((server): SeenServer => {
    const { member, lastCheck, renewedMsAgo, leaseLeftMs } = server;
    return {
      id: member?.id ?? '',
      incarnation: String(member?.incarnation ?? 0),
      state: STATES.find(([wire]) => wire === server.state)?.[1] ?? 'unknown',
      peers: addressesFromWire(member?.peerAddresses ?? [], MAX_ADDRESSES).map(formatAddress),
      cluster: addressesFromWire(member?.clusterAddresses ?? [], MAX_ADDRESSES).map(formatAddress),
      lastCheck: lastCheck === undefined ? null : { ...lastCheck },
      renewedMsAgo,
      leaseLeftMs,
    };
  });
  const { advertised, doubtsItself } = response;
  return { balancer, answered: true, advertised, doubtsItself, servers };
}

/** Puts together what the balancers said. A balancer that does not answer has no say. */
export function compareViews(balancers: readonly BalancerView[]): ClusterStatus {
  const answered = balancers.filter((view) => view.answered);
  const servers = new Map(
    answered.flatMap((view) => view.servers.map((server) => [server.id, server])),
  );
  const disagreements: Disagreement[] = [];
  for (const { id, peers } of servers.values()) {
    const seen = answered.map(({ balancer, servers: all }) => ({
      balancer,
      server: all.find((server) => server.id === id),
    }));
    if (new Set(seen.map(({ server }) => opinionOf(server))).size <= 1) continue;
    const states = seen.map(({ balancer, server }) => [balancer, server?.state ?? 'absent']);
    disagreements.push({ id, peers, states: Object.fromEntries(states) as Disagreement['states'] });
  }
  return { agree: disagreements.length === 0, balancers, disagreements };
}

/** What matters to peers and servers: a suspect is still handed out, a starting one not yet. */
function opinionOf(server: SeenServer | undefined): string {
  const handedOut = server?.state === 'listed' || server?.state === 'suspect';
  return handedOut ? `listed ${server.incarnation}` : 'not listed';
}

/** The cluster in words; what balancers disagree on is marked by `!`. */
export function describeStatus({ balancers, disagreements }: ClusterStatus): string[] {
  const disputed = new Set(disagreements.map(({ id }) => id));
  const lines = balancers.flatMap((view) => {
    if (!view.answered)
      return [`load balancer ${view.balancer} does not answer: ${view.reason}`, ''];
    const at = view.advertised.length === 0 ? '' : `, peers ask at ${view.advertised.join(' ')}`;
    const doubt = view.doubtsItself
      ? ['  it hears no server at all, takes its own network for broken and removes nobody']
      : [];
    const none = view.servers.length === 0 ? ['  no server is registered'] : [];
    const rows = view.servers.map((server) => rowOf(server, disputed.has(server.id)));
    return [`load balancer ${view.balancer}${at}`, ...doubt, ...none, ...table(rows), ''];
  });
  if (disagreements.length === 0) return lines;
  return [
    ...lines,
    'The load balancers disagree (!):',
    ...disagreements.map(({ id, peers, states }) => {
      const said = Object.entries(states).map(([balancer, state]) => `${state} at ${balancer}`);
      return `  ${peers[0] ?? id}: ${said.join(', ')}`;
    }),
    '',
  ];
}

function rowOf(server: SeenServer, disputed: boolean): readonly string[] {
  const { state, peers, cluster, lastCheck, renewedMsAgo, leaseLeftMs } = server;
  return [
    disputed ? '!' : ' ',
    state,
    peers.join(' '),
    `cluster ${cluster.join(' ')}`,
    lastCheck === null ? 'not checked yet' : `${lastCheck.result} ${seconds(lastCheck.msAgo)} ago`,
    `renewed ${seconds(renewedMsAgo)} ago, ${seconds(leaseLeftMs)} left`,
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** Rows as lines whose columns stand below each other. */
function table(rows: readonly (readonly string[])[]): string[] {
  const columns = rows[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
