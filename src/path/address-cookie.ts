import { createHmac, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { type Address, canonicalIp, ipFromBytes, ipToBytes } from '../base/address.ts';

/*
 * An address cookie: what a server tells whoever asks by STUN from an address, and what comes back
 * in a registration as proof that packets sent to that address arrive.
 *
 *   0   1  version, 1
 *   1   1  reserved, 0
 *   2   2  port
 *   4   4  when it was minted, in whole seconds on the server's clock
 *   8   4 or 16  IP address
 *  12 or 24   16  the first half of HMAC-SHA256 of everything before it
 *
 * The server keeps nothing: the cookie is the record.
 */

const VERSION = 1;
const FIXED_BYTES = 8;
const MAC_BYTES = 16;

/** The longest cookie, in bytes: that of an IPv6 address. */
export const MAX_COOKIE_BYTES = FIXED_BYTES + 16 + MAC_BYTES;

/** How long a cookie proves anything: enough for a slow registration, too short to collect them. */
const COOKIE_LIFETIME_MS = 60_000;

/** Makes and checks the address cookies of one server. */
export class CookieMint {
  readonly #secret: Uint8Array;

  /** @param secret at least 16 unpredictable bytes, which no other server has. */
  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** @param now milliseconds on the clock that `check` is given. @throws if `source` holds no IP. */
  mint(source: Address, now: number): Uint8Array {
    const ip = ipToBytes(canonicalIp(source.host));
    const body = new Uint8Array(FIXED_BYTES + ip.length);
    const view = new DataView(body.buffer);
    body[0] = VERSION;
    view.setUint16(2, source.port);
    view.setUint32(4, secondsOf(now));
    body.set(ip, FIXED_BYTES);
    return Buffer.concat([body, this.#macOf(body)]);
  }

  /** The address a cookie proves; undefined for one not minted here or more than 60 s ago. */
  check(cookie: Uint8Array, now: number): Address | undefined {
    const body = cookie.subarray(0, Math.max(0, cookie.length - MAC_BYTES));
    if (body.length !== FIXED_BYTES + 4 && body.length !== FIXED_BYTES + 16) return undefined;
    if (!timingSafeEqual(this.#macOf(body), cookie.subarray(body.length))) return undefined;
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const ageMs = (secondsOf(now) - view.getUint32(4)) * 1000;
    if (ageMs < 0 || ageMs >= COOKIE_LIFETIME_MS) return undefined;
    const host = ipFromBytes(body.subarray(FIXED_BYTES));
    return host === undefined || isIP(host) === 0 ? undefined : { host, port: view.getUint16(2) };
  }

  #macOf(body: Uint8Array): Uint8Array {
    return createHmac('sha256', this.#secret).update(body).digest().subarray(0, MAC_BYTES);
  }
}

function secondsOf(now: number): number {
  return Math.floor(now / 1000) >>> 0;
}
