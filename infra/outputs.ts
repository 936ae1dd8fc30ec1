import type { Instance } from '@cdktf/provider-aws/lib/instance/index.js';
import { TerraformOutput } from 'cdktf';
import type { Construct } from 'constructs';
import { BALANCER_PEERS } from './ports.ts';
import type { PublicAddress } from './public-address.ts';
import type { Secrets } from './secrets.ts';

export interface Told {
  readonly region: string;
  readonly secrets: Secrets;
  /** The load balancers'. */
  readonly addresses: readonly PublicAddress[];
  readonly hosts: readonly Instance[];
  readonly servers: readonly Instance[];
}

/** What an operator is told once the cluster stands. */
export function tell(scope: Construct, { region, secrets, addresses, hosts, servers }: Told): void {
  const output = (id: string, description: string, value: string | string[]): void => {
    new TerraformOutput(scope, id, { description, value });
  };
  const places = addresses.map(({ address }) => `${address}:${BALANCER_PEERS[0]}`);
  const arguments_ = places.map((place) => `--lb '${place}#${secrets.caPin}'`);
  output('load_balancers', 'Where peers ask for servers.', places);
  output(
    'peer_command',
    'Chats; the other one swaps the names. All that people need to know of the cluster is in it.',
    `bin/chatty alice bob ${arguments_.join(' ')}`,
  );
  output('cluster_ca_pem', 'The certificate of the cluster’s authority.', secrets.caPem);
  output(
    'rendezvous_servers',
    'The servers’ public addresses.',
    servers.map(({ publicIp }) => publicIp),
  );
  output(
    'session_manager',
    'A shell on each host.',
    hosts.map(({ id }) => `aws ssm start-session --region ${region} --target ${id}`),
  );
}
