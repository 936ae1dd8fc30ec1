import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { FakeAws } from '../fake-aws/fake-aws.ts';
import type { Instance } from '../fake-aws/ec2-instances.ts';

export const METADATA_ADDRESS = '169.254.169.254';
const TOKEN = 'token-of-the-rehearsal';

type Tree = { [name: string]: Tree | string };

/**
 * The instance metadata service, version 2 only: who asks is known by the address it asks from, and
 * has to show a token, as `http_tokens = required` has it.
 */
export class Metadata {
  readonly #aws: FakeAws;
  readonly #region: string;
  readonly #told: (userData: string) => string;
  readonly #server: Server;

  /** `told` is what becomes of user data on its way to the host. */
  constructor(aws: FakeAws, region: string, told: (userData: string) => string) {
    this.#aws = aws;
    this.#told = told;
    this.#region = region;
    this.#server = createServer((request, response) => {
      const { status, body } = this.#answer(request);
      response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(80, METADATA_ADDRESS);
    await once(this.#server, 'listening');
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage): { status: number; body: string } {
    const from = request.socket.remoteAddress ?? '';
    const { instances } = this.#aws.ec2;
    const instance = instances.living().find(({ privateAddress }) => privateAddress === from);
    if (instance === undefined) return { status: 404, body: '' };
    if (request.method === 'PUT') return { status: 200, body: TOKEN };
    const isKnown = request.headers['x-aws-ec2-metadata-token'] === TOKEN;
    if (!isKnown && !isStandIn(request)) return { status: 401, body: '' };
    const [, , ...path] = (request.url ?? '/').split('/');
    const found = path
      .filter((part) => part !== '')
      .reduce<Tree | string | undefined>(
        (tree, part) => (typeof tree === 'object' ? tree[part] : undefined),
        this.#tree(instance),
      );
    if (found === undefined) return { status: 404, body: '' };
    return { status: 200, body: typeof found === 'string' ? found : listing(found) };
  }

  #tree(instance: Instance): Tree {
    const { instanceId, privateAddress, ipv6Address, instanceType, zone, userData } = instance;
    const region = this.#region;
    const name = `ip-${privateAddress.replaceAll('.', '-')}.ec2.internal`;
    const mac = macOf(privateAddress);
    const publicAddress = this.#aws.ec2.instances.publicAddressOf(instance);
    const role = this.#aws.iam.grantOf(instance.profile ?? '')?.role;
    const addresses = {
      'local-ipv4': privateAddress,
      ...(publicAddress === undefined ? {} : { 'public-ipv4': publicAddress }),
      ...(ipv6Address === undefined ? {} : { ipv6: ipv6Address }),
    };
    return {
      'meta-data': {
        ...addresses,
        ...{ 'ami-id': 'ami-0c0ffee0c0ffee000', 'instance-id': instanceId, mac },
        ...{ 'instance-type': instanceType, hostname: name, 'local-hostname': name },
        placement: { 'availability-zone': zone, region },
        network: {
          interfaces: {
            macs: {
              [mac]: {
                ...{ 'device-number': '0', 'local-hostname': name, mac },
                'local-ipv4s': privateAddress,
                ...(ipv6Address === undefined ? {} : { ipv6s: ipv6Address }),
              },
            },
          },
        },
        ...(role === undefined
          ? {}
          : {
              iam: {
                'security-credentials': {
                  [role]: JSON.stringify({
                    ...{ Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: `ASIA.${instanceId}` },
                    ...{
                      SecretAccessKey: 'secret',
                      Token: 'token',
                      Expiration: '9999-12-31T23:59:59Z',
                    },
                  }),
                },
              },
            }),
      },
      dynamic: {
        'instance-identity': {
          document: JSON.stringify({ instanceId, region, availabilityZone: zone, instanceType }),
        },
      },
      ...(userData === undefined
        ? {}
        : { 'user-data': this.#told(Buffer.from(userData, 'base64').toString('utf8')) }),
    };
  }
}

/**
 * Whether Debian's cloud-init asks: in a container it does not see that it is on AWS, and leaves the
 * token out that it shows on Amazon Linux.
 */
function isStandIn(request: IncomingMessage): boolean {
  return /^(Cloud-Init|python-requests)\//.test(request.headers['user-agent'] ?? '');
}

/** The hardware address of the host with this private address. */
export function macOf(privateAddress: string): string {
  const bytes = privateAddress.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return ['02', '00', ...bytes].join(':');
}

function listing(tree: Tree): string {
  return Object.entries(tree)
    .map(([name, value]) => (typeof value === 'string' ? name : `${name}/`))
    .join('\n');
}
