import { createServer, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Ec2 } from './ec2.ts';
import type { Instance, Machines } from './ec2-instances.ts';
import { ACCOUNT } from './ec2-network.ts';
import { Iam } from './iam.ts';
import { allows } from './policy.ts';
import { AwsError, Query } from './query.ts';
import { Route53 } from './route53.ts';
import { S3, unchunked } from './s3.ts';
import { Ssm } from './ssm.ts';
import { escape, xml, type Xml } from './xml.ts';

/** Something that changed the fake, or became of it. */
export type CloudEvent = { at: number; event: string; subject: string; detail: string };
type Reply = { status: number; headers?: Record<string, string>; body?: Buffer | string };

const READS = /^(Describe|Get|List)/;

/**
 * A fake of the AWS APIs, as far as the Terraform provider 5.100.0 needs them for `infra/`, and our
 * hosts for their start: EC2, S3, SSM, IAM, Route 53, STS on one endpoint. It believes who a caller
 * says to be, without looking at signatures; what an instance asks is held against the policies of
 * its role. Nothing is kept but in memory.
 */
export class FakeAws {
  readonly ec2: Ec2;
  readonly iam = new Iam();
  readonly ssm: Ssm;
  readonly s3: S3;
  readonly route53 = new Route53();
  /** All that happened, in order; `refused` is what an instance asked in vain. */
  readonly events: CloudEvent[] = [];
  /** What was asked and is not there; a rehearsal with any is not to be believed. */
  readonly gaps = new Set<string>();
  readonly #server: Server;
  readonly #now: () => number;

  constructor(machines: Machines, region: string, now: () => number) {
    this.#now = now;
    this.ec2 = new Ec2(machines, region);
    this.s3 = new S3(region);
    this.ssm = new Ssm(this.ec2.instances, machines, region, (event, subject, detail) => {
      this.note(event, subject, detail);
    });
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, headers, body }) => {
        response.writeHead(status, { 'x-amzn-requestid': '1', ...headers });
        response.end(body);
      });
    });
  }

  /** Listens; resolves with the port. */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  note(event: string, subject: string, detail = ''): void {
    this.events.push({ at: this.#now(), event, subject, detail });
  }

  /** Everything that `destroy` ought to have taken away. */
  leftovers(): string[] {
    return [this.ec2, this.iam, this.ssm, this.s3, this.route53].flatMap((one) => one.leftovers());
  }

  async #answer(request: IncomingMessage): Promise<Reply> {
    const { service, caller } = signerOf(request);
    const url = new URL(request.url ?? '/', 'http://aws');
    const raw = await bodyOf(request);
    const style = service === 's3' || service === 'route53' ? service : url.pathname;
    try {
      if (service === 's3') return this.#s3(request, url, raw, caller);
      if (service === 'route53') return this.#route53(request, url, raw);
      if (service === 'ssm') return this.#ssm(request, raw, caller);
      return await this.#query(service, Query.parse(raw.toString('utf8')), caller);
    } catch (error) {
      const known =
        error instanceof AwsError
          ? error
          : new AwsError(
              'InternalFailure',
              error instanceof Error ? (error.stack ?? '') : String(error),
              400,
            );
      if (known.code === 'FakeGap' || known.code === 'InternalFailure')
        this.gaps.add(known.message);
      const instance = this.instanceOf(caller);
      if (instance !== undefined) {
        this.note('refused', instance.instanceId, `${known.code}: ${known.message}`);
      }
      return failure(service, style, known, request.method === 'HEAD');
    }
  }

  #s3(request: IncomingMessage, url: URL, raw: Buffer, caller: string): Reply {
    const path = decodeURIComponent(url.pathname);
    const method = request.method ?? 'GET';
    const action = method === 'GET' || method === 'HEAD' ? 's3:GetObject' : 's3:PutObject';
    this.#permit(caller, action, `arn:aws:s3:::${path.slice(1)}`);
    const isChunked =
      String(request.headers['x-amz-content-sha256']).startsWith('STREAMING') ||
      String(request.headers['content-encoding']).includes('aws-chunked');
    const body = isChunked ? unchunked(raw) : raw;
    const reply = this.s3.handle({
      method,
      path,
      search: url.searchParams,
      headers: request.headers,
      body,
    });
    if (method !== 'GET' && method !== 'HEAD') this.note(`s3 ${method}`, path, url.search);
    return reply;
  }

  #route53(request: IncomingMessage, url: URL, raw: Buffer): Reply {
    const method = request.method ?? 'GET';
    const body = raw.toString('utf8');
    const reply = this.route53.handle(
      method,
      url.pathname.replace(/\/$/, ''),
      url.searchParams,
      body,
    );
    if (method !== 'GET')
      this.note(`route53 ${method}`, url.pathname, /<Action>(\w+)/.exec(body)?.[1] ?? '');
    return {
      status: 200,
      headers: { 'content-type': 'text/xml' },
      body: `<?xml version="1.0"?>${reply}`,
    };
  }

  #ssm(request: IncomingMessage, raw: Buffer, caller: string): Reply {
    const action = String(request.headers['x-amz-target']).split('.').pop() ?? '';
    const body = JSON.parse(raw.toString('utf8') || '{}') as Record<string, unknown>;
    const name = typeof body['Name'] === 'string' ? body['Name'] : '';
    this.#permit(caller, `ssm:${action}`, this.ssm.arnOf(name));
    const reply = this.ssm.handle(action, body);
    if (!READS.test(action)) this.note(`ssm ${action}`, name);
    return {
      status: 200,
      headers: { 'content-type': 'application/x-amz-json-1.1' },
      body: JSON.stringify(reply),
    };
  }

  async #query(service: string, query: Query, caller: string): Promise<Reply> {
    const action = query.need('Action');
    this.#permit(caller, `${service}:${action}`, '*');
    const answer = await this.#asked(service, action, query);
    if (!READS.test(action)) this.note(`${service} ${action}`, subjectOf(query, answer));
    const isEc2 = service === 'ec2';
    const result = isEc2
      ? { requestId: '1', ...(answer as object) }
      : { [`${action}Result`]: answer, ResponseMetadata: { RequestId: '1' } };
    const body = xml(`${action}Response`, result, isEc2 ? 'item' : 'member');
    return { status: 200, headers: { 'content-type': 'text/xml;charset=UTF-8' }, body };
  }

  #asked(service: string, action: string, query: Query): Promise<Xml> | Xml {
    if (service === 'ec2') return this.ec2.handle(action, query);
    if (service === 'iam') return this.iam.handle(action, query);
    if (service === 'sts' && action === 'GetCallerIdentity') {
      return {
        Account: ACCOUNT,
        UserId: 'AIDAREHEARSAL',
        Arn: `arn:aws:iam::${ACCOUNT}:user/rehearsal`,
      };
    }
    throw new AwsError('FakeGap', `the fake knows no ${service} ${action}`, 501);
  }

  /** Refuses what the role of an instance does not allow; everybody else is the operator. */
  #permit(caller: string, action: string, resource: string): void {
    const instance = this.instanceOf(caller);
    if (instance === undefined) return;
    const role = this.iam.roles.get(this.iam.grantOf(instance.profile ?? '')?.role ?? '');
    const isAllowed =
      role !== undefined && allows([...role.inline.values()], [...role.attached], action, resource);
    if (isAllowed) return;
    throw new AwsError(
      'AccessDenied',
      `the role of ${instance.instanceId} does not allow ${action} on ${resource}`,
      403,
    );
  }

  /** The instance whose metadata gave out this access key. */
  instanceOf(accessKey: string): Instance | undefined {
    return accessKey.startsWith('ASIA.')
      ? this.ec2.instances.instances.get(accessKey.slice(5))
      : undefined;
  }
}

function signerOf(request: IncomingMessage): { service: string; caller: string } {
  const match = /Credential=([^/]+)\/[^/]+\/[^/]+\/([^/]+)\//.exec(
    request.headers.authorization ?? '',
  );
  return { caller: match?.[1] ?? '', service: match?.[2] ?? 's3' };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function subjectOf(query: Query, answer: Xml): string {
  const keys = [
    'InstanceId',
    'InstanceId.1',
    'AssociationId',
    'AllocationId',
    'GroupId',
    'RoleName',
    'VpcId',
  ];
  const named = keys.map((key) => query.get(key)).find((value) => value !== undefined);
  return named ?? /"instanceId":"([^"]+)"/.exec(JSON.stringify(answer))?.[1] ?? '';
}

function failure(service: string, style: string, error: AwsError, isHead: boolean): Reply {
  const { code, status, message } = error;
  if (isHead) return { status };
  if (service === 'ssm') {
    const body = JSON.stringify({ __type: code, message });
    return { status, headers: { 'content-type': 'application/x-amz-json-1.1' }, body };
  }
  const inner = `<Code>${code}</Code><Message>${escape(message)}</Message>`;
  const bodies: Record<string, string> = {
    s3: `<Error>${inner}</Error>`,
    ec2: `<Response><Errors><Error>${inner}</Error></Errors><RequestID>1</RequestID></Response>`,
  };
  const body =
    bodies[service] ??
    `<ErrorResponse><Error>${inner}</Error><RequestId>1</RequestId></ErrorResponse>`;
  return {
    status,
    headers: { 'content-type': style === 's3' ? 'application/xml' : 'text/xml' },
    body,
  };
}
