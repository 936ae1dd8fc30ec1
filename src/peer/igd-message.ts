/*
 * UPnP, as far as one UDP port needs it: a search (SSDP, in UPnP Device Architecture 1.1 §1.3), which a
 * gateway answers with where it describes itself; the description (§2.3), an XML document; and calls of
 * the service WANIPConnection or WANPPPConnection in it (SOAP, §3.2). What is read is searched for the
 * few words that matter, in time that grows with its length alone; documents are never interpreted.
 */

/** One or the other is there; a gateway of version 2 has both of the first two. */
const SERVICES = [
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
];
const DEVICES = [
  'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
  'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
];
const MAX_ANSWER_BYTES = 2_048;

/** Datagrams that ask whoever is a gateway to answer within a second. */
export function searchRequests(): readonly Uint8Array[] {
  return DEVICES.map((device) =>
    Buffer.from(
      [
        'M-SEARCH * HTTP/1.1',
        'HOST: 239.255.255.250:1900',
        'MAN: "ssdp:discover"',
        'MX: 1',
        `ST: ${device}`,
        '',
        '',
      ].join('\r\n'),
    ),
  );
}

/**
 * Where the gateway describes itself: on itself, or it is not believed. Whoever answers must not make
 * this computer call others.
 *
 * @returns undefined for what is no answer of a gateway at `host`.
 */
export function readSearchAnswer(datagram: Uint8Array, host: string): string | undefined {
  if (datagram.length > MAX_ANSWER_BYTES) return undefined;
  const lines = Buffer.from(datagram).toString('latin1').split('\r\n');
  if (lines[0]?.startsWith('HTTP/1.1 200') !== true) return undefined;
  const location = lines.find((line) => /^location:/i.test(line))?.slice('location:'.length);
  return urlOn(host, location?.trim() ?? '', undefined)?.href;
}

/** A service that maps ports. */
export interface IgdService {
  readonly type: string;
  readonly control: URL;
}

/** @returns undefined where the document, from `location`, describes no such service there. */
export function readDescription(xml: string, location: URL): IgdService | undefined {
  for (const part of xml.split('<service>').slice(1)) {
    const service = part.split('</service>', 1)[0] ?? '';
    const type = readElement(service, 'serviceType');
    const path = readElement(service, 'controlURL');
    if (type === undefined || path === undefined || !SERVICES.includes(type)) continue;
    const control = urlOn(location.hostname, path, location);
    if (control !== undefined) return { type, control };
  }
  return undefined;
}

/** A call of an action of a service; `values` are ours and need no escaping. */
export function soapCall(
  { type }: IgdService,
  action: string,
  values: Readonly<Record<string, string | number>>,
): { readonly headers: Readonly<Record<string, string>>; readonly body: string } {
  const elements = Object.entries(values).map(([name, value]) => `<${name}>${value}</${name}>`);
  const body = [
    '<?xml version="1.0"?>',
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"',
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>',
    `<u:${action} xmlns:u="${type}">${elements.join('')}</u:${action}>`,
    '</s:Body></s:Envelope>\r\n',
  ].join('');
  const headers = {
    'Content-Type': 'text/xml; charset="utf-8"',
    SOAPAction: `"${type}#${action}"`,
  };
  return { headers, body };
}

/** The text of the first element of this name. @returns undefined where there is none. */
export function readElement(xml: string, name: string): string | undefined {
  const [, rest] = xml.split(`<${name}>`, 2);
  const text = rest?.split('<', 1)[0]?.trim();
  return text === undefined || text === '' ? undefined : text.replaceAll('&amp;', '&');
}

function urlOn(host: string, text: string, base: URL | undefined): URL | undefined {
  if (!URL.canParse(text, base?.href)) return undefined;
  const url = new URL(text, base);
  return url.protocol === 'http:' && url.hostname === host ? url : undefined;
}
