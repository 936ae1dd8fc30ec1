/*
 * PCP (RFC 6887) and its predecessor NAT-PMP (RFC 6886), as far as one UDP port of one computer needs
 * them over IPv4. Numbers are big-endian, lifetimes in seconds; both are spoken on UDP port 5351.
 *
 *   PCP MAP request, 60 bytes (RFC 6887 §7.1, §11.1)
 *      0  version 2          1  opcode 1           2  0 (2)
 *      4  lifetime (4)       8  own address, IPv4-mapped (16)
 *     24  nonce (12)        36  protocol 17       37  0 (3)
 *     40  internal port (2) 42  suggested external port (2)
 *     44  suggested external address, IPv4-mapped (16)
 *
 *   PCP answer, 24 bytes or more (§7.2); of MAP, 60 or more, from 24 on as above, but assigned
 *      0  version 2          1  128 + opcode       2  0           3  result
 *      4  lifetime (4)       8  epoch (4)         12  0 (12)
 *
 *   NAT-PMP requests: address, 2 bytes (RFC 6886 §3.2); mapping, 12 bytes (§3.3)
 *      0  version 0          1  opcode 0 or 1      2  0 (2)
 *      4  internal port (2)  6  external port (2)  8  lifetime (4)
 *
 *   NAT-PMP answers, 8 bytes or more where refused; address 12, mapping 16
 *      0  version 0          1  128 + opcode       2  result (2)
 *      4  epoch (4)          8  external address (4), or
 *      8  internal port (2) 10  external port (2) 12  lifetime (4)
 */
import { type Address, ipFromBytes, ipToBytes } from '../base/address.ts';

const PCP = 2;
const NAT_PMP = 0;
const OP_MAP = 1;
const OP_ADDRESS = 0;
const OP_MAP_UDP = 1;
const ANSWER = 128;
const UDP = 17;
const PCP_MAP_BYTES = 60;
const PCP_HEADER_BYTES = 24;
const NONCE_AT = 24;
export const NONCE_BYTES = 12;
const SUCCESS = 0;
const UNSUPPORTED_VERSION = 1;

/** The port that a mapping is for, and what proves that a mapping is ours (RFC 6887 §11.2). */
export interface MappedPort {
  /** Of this computer, towards the gateway. */
  readonly own: string;
  readonly port: number;
  /** `NONCE_BYTES` that nobody can guess. */
  readonly nonce: Uint8Array;
}

/** What a gateway says. */
export type PortControlAnswer =
  | { readonly kind: 'pcp-mapped'; readonly external: Address; readonly lifetimeMs: number }
  | { readonly kind: 'pcp-refused' }
  | { readonly kind: 'nat-pmp-address'; readonly host: string }
  | { readonly kind: 'nat-pmp-mapped'; readonly port: number; readonly lifetimeMs: number }
  | { readonly kind: 'nat-pmp-refused' };

/** @param lifetimeMs 0 takes the mapping back (RFC 6887 §15). */
export function pcpMapRequest(
  { own, port, nonce }: MappedPort,
  suggested: Address,
  lifetimeMs: number,
): Uint8Array {
  const bytes = new Uint8Array(PCP_MAP_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set([PCP, OP_MAP]);
  view.setUint32(4, lifetimeMs / 1000);
  bytes.set(mappedIp(own), 8);
  bytes.set(nonce, NONCE_AT);
  bytes[36] = UDP;
  view.setUint16(40, port);
  view.setUint16(42, suggested.port);
  bytes.set(mappedIp(suggested.host), 44);
  return bytes;
}

/** Asks for the external address; changes nothing. */
export function natPmpAddressRequest(): Uint8Array {
  return Uint8Array.of(NAT_PMP, OP_ADDRESS);
}

/** @param lifetimeMs 0, with a suggested port of 0, takes the mapping back (RFC 6886 §3.4). */
export function natPmpMapRequest(port: number, suggested: number, lifetimeMs: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  bytes.set([NAT_PMP, OP_MAP_UDP]);
  view.setUint16(4, port);
  view.setUint16(6, suggested);
  view.setUint32(8, lifetimeMs / 1000);
  return bytes;
}

/** Reads what came from a gateway. @returns undefined for what answers nothing that was asked. */
export function readPortControlAnswer(
  datagram: Uint8Array,
  asked: MappedPort,
): PortControlAnswer | undefined {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  if (view.byteLength < 8) return undefined;
  if (view.getUint8(0) === NAT_PMP) return readNatPmp(datagram, view, asked);
  return view.getUint8(0) === PCP ? readPcp(datagram, view, asked) : undefined;
}

function readPcp(
  bytes: Uint8Array,
  view: DataView,
  { port, nonce }: MappedPort,
): PortControlAnswer | undefined {
  if (bytes.length < PCP_HEADER_BYTES || view.getUint8(1) < ANSWER) return undefined;
  const result = view.getUint8(3);
  // Whoever speaks PCP only says so to a question of NAT-PMP in its own words (RFC 6887 §9).
  if (bytes.length < PCP_MAP_BYTES) {
    return result === UNSUPPORTED_VERSION ? { kind: 'nat-pmp-refused' } : undefined;
  }
  const named = bytes.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES);
  if (view.getUint8(1) !== ANSWER + OP_MAP || Buffer.compare(named, nonce) !== 0) return undefined;
  if (view.getUint8(36) !== UDP || view.getUint16(40) !== port) return undefined;
  const external = { host: ipFromBytes(bytes.subarray(44, 60)) ?? '', port: view.getUint16(42) };
  const lifetimeMs = view.getUint32(4) * 1000;
  const isGiven = result === SUCCESS && external.port > 0 && lifetimeMs > 0;
  return isGiven ? { kind: 'pcp-mapped', external, lifetimeMs } : { kind: 'pcp-refused' };
}

function readNatPmp(
  bytes: Uint8Array,
  view: DataView,
  { port }: MappedPort,
): PortControlAnswer | undefined {
  const result = view.getUint16(2);
  const opcode = view.getUint8(1) - ANSWER;
  if (opcode < 0) return undefined;
  // Whoever speaks NAT-PMP only says so to PCP in its own words (RFC 6886 §3.5).
  if (result === UNSUPPORTED_VERSION) return { kind: 'pcp-refused' };
  if (opcode !== OP_ADDRESS && opcode !== OP_MAP_UDP) return undefined;
  if (result !== SUCCESS) return { kind: 'nat-pmp-refused' };
  if (opcode === OP_ADDRESS) {
    const host = ipFromBytes(bytes.subarray(8, 12));
    return host === undefined ? undefined : { kind: 'nat-pmp-address', host };
  }
  if (bytes.length < 16 || view.getUint16(8) !== port) return undefined;
  const [external, lifetimeMs] = [view.getUint16(10), view.getUint32(12) * 1000];
  return external > 0 && lifetimeMs > 0
    ? { kind: 'nat-pmp-mapped', port: external, lifetimeMs }
    : { kind: 'nat-pmp-refused' };
}

function mappedIp(host: string): Uint8Array {
  return Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...ipToBytes(host));
}
