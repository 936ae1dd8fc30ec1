import { request } from 'node:http';
import { isIPv4 } from 'node:net';
import type { Address } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import { type IgdService, readDescription, readElement, soapCall } from './igd-message.ts';

/** Descriptions of home routers take 3 to 20 KB. */
const MAX_BODY_BYTES = 64 * 1024;
/** UPnP WANIPConnection:1 §2.4.16: somebody else has the port. */
const CONFLICT = '718';
const PORT_TRIES = 3;
const FIRST_PORT = 1024;
const DESCRIPTION = 'Chatty';

/** A gateway that was found by UPnP. */
export interface Igd {
  /** Where it describes itself. */
  readonly location: string;
  /** Of this computer, towards it. */
  readonly own: string;
  readonly signal: AbortSignal;
}

/**
 * Has a gateway lead a port of its own to UDP `port` of this computer: `externalPort`, else another.
 * Gateways that give ports only for ever are left alone: a program that is killed takes none back.
 *
 * @throws Error where it does not answer as it should, refuses, or `signal` aborts.
 */
export async function mapByIgd(
  igd: Igd,
  wanted: { readonly port: number; readonly externalPort: number; readonly lifetimeMs: number },
  random: Random,
): Promise<Address> {
  const service = await describe(igd);
  const { body } = await call(igd, service, 'GetExternalIPAddress', {});
  const host = readElement(body, 'NewExternalIPAddress') ?? '';
  if (!isIPv4(host)) throw new Error('the gateway has no external address');
  let { externalPort } = wanted;
  for (let tries = 1; ; tries++) {
    const answer = await call(igd, service, 'AddPortMapping', {
      NewRemoteHost: '',
      NewExternalPort: externalPort,
      NewProtocol: 'UDP',
      NewInternalPort: wanted.port,
      NewInternalClient: igd.own,
      NewEnabled: 1,
      NewPortMappingDescription: DESCRIPTION,
      NewLeaseDuration: wanted.lifetimeMs / 1000,
    });
    if (answer.status === 200) return { host, port: externalPort };
    const code = readElement(answer.body, 'errorCode');
    if (code !== CONFLICT || tries === PORT_TRIES) throw new Error(`refused: ${code ?? 'unknown'}`);
    externalPort = FIRST_PORT + random.below(65_536 - FIRST_PORT);
  }
}

/** Takes a port back. @throws Error as above. */
export async function unmapByIgd(igd: Igd, externalPort: number): Promise<void> {
  await call(igd, await describe(igd), 'DeletePortMapping', {
    NewRemoteHost: '',
    NewExternalPort: externalPort,
    NewProtocol: 'UDP',
  });
}

async function describe(igd: Igd): Promise<IgdService> {
  const location = new URL(igd.location);
  const { body } = await fetchText(igd, location, { method: 'GET' });
  const service = readDescription(body, location);
  if (service === undefined) throw new Error('the gateway maps no ports');
  return service;
}

function call(
  igd: Igd,
  service: IgdService,
  action: string,
  values: Parameters<typeof soapCall>[2],
): Promise<{ status: number; body: string }> {
  return fetchText(igd, service.control, { method: 'POST', ...soapCall(service, action, values) });
}

/** One HTTP exchange on a connection of its own, without redirections. */
function fetchText(
  { own, signal }: Igd,
  { hostname, port, pathname, search }: URL,
  {
    method,
    headers = {},
    body = '',
  }: {
    readonly method: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  },
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const length = { 'Content-Length': Buffer.byteLength(body), Connection: 'close' };
    const asked = request(
      {
        ...{ host: hostname, port: port === '' ? 80 : Number(port), path: `${pathname}${search}` },
        ...{ method, headers: { ...headers, ...length }, localAddress: own, agent: false, signal },
      },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > MAX_BODY_BYTES) asked.destroy(new Error('the answer is too long'));
        });
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
        answer.once('error', reject);
      },
    );
    asked.once('error', reject);
    asked.end(body);
  });
}
