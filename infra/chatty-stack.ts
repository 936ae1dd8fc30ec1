import { AwsProvider } from '@cdktf/provider-aws/lib/provider/index.js';
import { LocalBackend, S3Backend, type TerraformElement, TerraformStack } from 'cdktf';
import type { Construct, Node as TreeNode } from 'constructs';
import { Artifact } from './artifact.ts';
import { Firewall } from './firewall.ts';
import { Hosts } from './hosts.ts';
import { Names } from './names.ts';
import { Network } from './network.ts';
import { newestImage } from './node.ts';
import { tell } from './outputs.ts';
import { BALANCER_CLUSTER, BALANCER_PEERS, SERVER_PEERS, SERVER_WEB } from './ports.ts';
import { PublicAddress } from './public-address.ts';
import { Readiness } from './readiness.ts';
import { Secrets } from './secrets.ts';
import type { Settings } from './settings.ts';

/** Write-only arguments came with this one. */
const TERRAFORM_VERSION = '>= 1.11';

/** A cluster on AWS: load balancers and rendezvous servers, and what they need. */
export class ChattyStack extends TerraformStack {
  constructor(scope: Construct, id: string, settings: Settings) {
    super(scope, id);
    const { name, region, zones } = settings;
    this.addOverride('terraform.required_version', TERRAFORM_VERSION);
    new AwsProvider(this, 'aws', { region, defaultTags: [{ tags: { Cluster: name } }] });
    this.#keepState(settings);

    const network = new Network(this, 'network', { name, cidr: settings.vpcCidr, zones });
    const { vpcId, wayOut } = network;
    const { peerCidrs } = settings;
    const firewall = new Firewall(this, 'firewall', { name, vpcId, peerCidrs });
    const artifact = new Artifact(this, 'artifact', { name, path: settings.artifact });
    const secrets = new Secrets(this, 'secrets', settings);
    const names = new Names(this, 'names', { name, vpcId });
    const image = newestImage(this);
    const common = { name, region, image, network, artifact, secrets };

    const servers = new Hosts(this, 'rendezvous', {
      ...common,
      role: 'rendezvous',
      instanceType: settings.rendezvousInstanceType,
      securityGroupId: firewall.groups.rendezvous.id,
    }).add(settings.rendezvousServers, () => ({
      ports: [SERVER_PEERS[0], SERVER_WEB[0]],
      servers: {
        loadBalancer: `dns:///${names.balancers}:${BALANCER_CLUSTER[0]}`,
        processes: settings.processes,
      },
    }));

    const addresses = Array.from(
      { length: settings.loadBalancers },
      (_, index) =>
        new PublicAddress(this, `address-${index + 1}`, {
          name: `${name}-loadbalancer-${index + 1}`,
          dependsOn: wayOut,
        }),
    );
    const balancers = new Hosts(this, 'loadbalancer', {
      ...common,
      role: 'loadbalancer',
      instanceType: settings.loadBalancerInstanceType,
      securityGroupId: firewall.groups.loadbalancer.id,
    }).add(addresses.length, (index) => ({
      ports: [BALANCER_PEERS[0]],
      address: addresses[index]?.address,
    }));

    // Behind the gates stands what they are to hold back: old hosts and their names go last.
    const records = balancers.map((host, index) =>
      names.addBalancer(`loadbalancer-${index + 1}`, host),
    );
    const serving = servers.map(
      (host, index) =>
        new Readiness(this, `rendezvous-${index + 1}-ready`, {
          ...{ host, question: [], concerning: [], dependsOn: records },
        }).gate,
    );
    for (const [index, host] of balancers.entries()) {
      // It has taken over once it lists every server there is.
      const question = servers.map(({ privateIp }) => privateIp);
      const { gate } = new Readiness(this, `loadbalancer-${index + 1}-ready`, {
        ...{ host, question, concerning: servers, dependsOn: records },
      });
      addresses[index]?.leadTo(host.id, [gate, ...serving]);
    }
    tell(this, { region, secrets, addresses, hosts: [...balancers, ...servers], servers });
  }

  #keepState({ name, region, state, stateBucket }: Settings): void {
    if (stateBucket === '') {
      new LocalBackend(this, { path: state });
      return;
    }
    const key = `chatty/${name}.tfstate`;
    new S3Backend(this, { bucket: stateBucket, key, region, encrypt: true });
    this.addOverride('terraform.backend.s3.use_lockfile', true);
  }

  /** Short names, the same from run to run: the path in the tree. */
  protected override allocateLogicalId(element: TerraformElement | TreeNode): string {
    const { scopes } = 'node' in element ? element.node : element;
    const path = scopes.slice(2).map(({ node }) => node.id);
    return path.join('-');
  }
}
