import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Route53 } from '../fake-aws/route53.ts';

export const RESOLVER_ADDRESS = '169.254.169.253';
const TYPES: Readonly<Record<number, string>> = { 1: 'A', 28: 'AAAA' };
const NXDOMAIN = 3;
const HEADER_BYTES = 12;

/**
 * The resolver of a VPC, as far as names of private zones go: answers `A` by what Route 53 has
 * recorded, and knows no other names (RFC 1035 §4).
 */
export class Resolver {
  readonly #route53: Route53;
  readonly #socket: Socket = createSocket('udp4');

  constructor(route53: Route53) {
    this.#route53 = route53;
    this.#socket.on('message', (query, from) => {
      const answer = this.#answer(query);
      if (answer !== undefined) this.#socket.send(answer, from.port, from.address);
    });
  }

  async listen(): Promise<void> {
    this.#socket.bind(53, RESOLVER_ADDRESS);
    await once(this.#socket, 'listening');
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer): Buffer | undefined {
    const labels: string[] = [];
    let at = HEADER_BYTES;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const end = at + 5;
    if (query.length < end) return undefined;
    const type = TYPES[query.readUInt16BE(at + 1)];
    const found = this.#route53.resolve(labels.join('.'), type ?? '');
    const values = type === 'A' ? (found?.values ?? []) : [];
    const header = Buffer.alloc(HEADER_BYTES);
    query.copy(header, 0, 0, 2);
    // A response, recursion desired and available.
    header.writeUInt16BE(0x8180 | (found === undefined ? NXDOMAIN : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(values.length, 6);
    const records = values.map((value) => {
      const record = Buffer.alloc(16);
      // The name is the question's, which begins after the header.
      record.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
      record.writeUInt16BE(1, 2);
      record.writeUInt16BE(1, 4);
      record.writeUInt32BE(found?.ttl ?? 0, 6);
      record.writeUInt16BE(4, 10);
      record.set(value.split('.').map(Number), 12);
      return record;
    });
    return Buffer.concat([header, query.subarray(HEADER_BYTES, end), ...records]);
  }
}
