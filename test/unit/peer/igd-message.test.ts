import { describe, expect, it } from 'vitest';
import {
  readDescription,
  readElement,
  readSearchAnswer,
  searchRequests,
  soapCall,
} from '../../../src/peer/igd-message.ts';

const GATEWAY = '192.168.1.1';
const LOCATION = new URL(`http://${GATEWAY}:5000/root.xml`);
const WAN_IP = 'urn:schemas-upnp-org:service:WANIPConnection:1';

function answer(location: string, status = '200 OK'): Uint8Array {
  return Buffer.from(`HTTP/1.1 ${status}\r\nST: x\r\nLocation: ${location}\r\n\r\n`);
}

function described(control: string, type = WAN_IP): string {
  const service = (serviceType: string, url: string): string =>
    `<service><serviceType>${serviceType}</serviceType><controlURL>${url}</controlURL></service>`;
  return `<root><serviceList>${service('urn:other', '/no')}${service(type, control)}</serviceList>`;
}

describe('UPnP', () => {
  it('searches for gateways of both versions', () => {
    const texts = searchRequests().map((each) => Buffer.from(each).toString());
    expect(texts.map((text) => /ST: .*:(\d)\r\n\r\n$/.exec(text)?.[1])).toEqual(['1', '2']);
  });

  it('believes a gateway that describes itself', () => {
    expect(readSearchAnswer(answer(LOCATION.href), GATEWAY)).toBe(LOCATION.href);
  });

  it.each([
    ['sends us to somebody else', answer('http://203.0.113.7:80/')],
    ['names a host', answer('http://localhost:5000/')],
    ['wants another protocol', answer(`https://${GATEWAY}/`)],
    ['names a file', answer('file:///etc/passwd')],
    ['names nothing', answer('')],
    ['has not found it', answer(LOCATION.href, '404 Not Found')],
    ['says too much', answer(`${LOCATION.href}?${'x'.repeat(3_000)}`)],
    ['announces itself', Buffer.from(`NOTIFY * HTTP/1.1\r\nLocation: ${LOCATION.href}\r\n\r\n`)],
    ['says nothing', new Uint8Array(0)],
  ])('believes nobody who %s', (_name, datagram) => {
    expect(readSearchAnswer(datagram, GATEWAY)).toBeUndefined();
  });

  it.each([
    ['a path', '/ctl?a=1&amp;b=2', `http://${GATEWAY}:5000/ctl?a=1&b=2`],
    ['a whole address', `http://${GATEWAY}:6000/ctl`, `http://${GATEWAY}:6000/ctl`],
  ])('finds the service that maps ports, by %s', (_name, control, href) => {
    const service = readDescription(described(control), LOCATION);
    expect(service?.type).toBe(WAN_IP);
    expect(service?.control.href).toBe(href);
  });

  it.each([
    ['a service elsewhere', described('http://203.0.113.7/ctl')],
    ['other services', described('/ctl', 'urn:schemas-upnp-org:service:Layer3Forwarding:1')],
    ['no service', '<root/>'],
    ['half a service', described('/ctl').replaceAll(/<controlURL>.*/g, '')],
    ['nothing but beginnings', '<service>'.repeat(7_000)],
  ])('calls nobody for %s', (_name, xml) => {
    expect(readDescription(xml, LOCATION)).toBeUndefined();
  });

  it('calls an action', () => {
    const service = { type: WAN_IP, control: LOCATION };
    const { headers, body } = soapCall(service, 'Do', { NewPort: 5, NewHost: '' });
    expect(headers['SOAPAction']).toBe(`"${WAN_IP}#Do"`);
    expect(body).toContain(
      `<u:Do xmlns:u="${WAN_IP}"><NewPort>5</NewPort><NewHost></NewHost></u:Do>`,
    );
  });

  it('reads what an element says', () => {
    const xml = '<a><Code> 718 </Code><Code>2</Code><Empty></Empty><Open>';
    expect(['Code', 'Empty', 'Open', 'None'].map((name) => readElement(xml, name))).toEqual([
      '718',
      undefined,
      undefined,
      undefined,
    ]);
  });
});
