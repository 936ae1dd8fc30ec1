import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createClusterCa } from '../../../src/base/certificate.ts';
import type { ChattyError } from '../../../src/base/errors.ts';
import type { Identity } from '../../../src/base/identity.ts';
import { BalancerStore } from '../../../src/peer/balancer-store.ts';
import { BalancerTrustBook, readCaFile } from '../../../src/peer/trust.ts';
import { type BalancerAddress, parseBalancerAddress } from '../../../src/base/balancer-address.ts';
import type { ServersAnswer } from '../../../src/rpc/balancer-client.ts';
import { Server } from '../../../src/rpc/generated/chatty/v1/loadbalancer.ts';

let ca: Identity;
let otherCa: Identity;
beforeAll(async () => {
  [ca, otherCa] = await Promise.all([createClusterCa(), createClusterCa()]);
});

let state: string;
let errors: ChattyError[];
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'chatty-trust-'));
  errors = [];
});
afterEach(async () => {
  await rm(state, { recursive: true, force: true });
  expect(errors).toEqual([]);
});

const at = (text: string): BalancerAddress => {
  const address = parseBalancerAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
};
const A = at('lb-a.example:50050');
const server = (id: string): Server => ({ id, addresses: [], certificate: Buffer.from(id) });
const answer = (by: Identity, loadBalancers: string[] = []): ServersAnswer => ({
  response: { servers: [server('s1'), server('s2')], stunAddresses: [], loadBalancers },
  caPem: by.certPem,
  caFingerprint: by.fingerprint,
  answeredBy: { host: '192.0.2.1', port: 50050 },
});
const open = (
  options: Partial<Parameters<typeof BalancerTrustBook.open>[0]> = {},
): Promise<BalancerTrustBook> =>
  BalancerTrustBook.open({
    loadBalancers: [A],
    strict: false,
    store: new BalancerStore(state),
    onStoreError: (error) => errors.push(error),
    ...options,
  });
const files = async (): Promise<string[]> =>
  (await readdir(state, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);

describe('a load balancer is known', () => {
  it('by nothing on first use', async () => {
    expect((await open()).trustFor(A)).toEqual({ kind: 'first-use' });
  });

  it('by the CA it had on first use, in this run and the next', async () => {
    const book = await open();
    book.answered(A, answer(ca));
    expect(book.trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
    await book.flush();
    expect((await open()).trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
  });

  it('by its pin alone where what is kept of its cluster is damaged', async () => {
    const book = await open();
    book.answered(A, answer(ca));
    await book.flush();
    const [name = ''] = await readdir(join(state, 'clusters'));
    await writeFile(join(state, 'clusters', name), '{"ca":');
    expect((await open()).trustFor(A)).toEqual({ kind: 'pin', sha256: ca.fingerprint });
  });

  it('by the pin after its address, whatever is stored, and that pin is stored then', async () => {
    const first = await open();
    first.answered(A, answer(otherCa));
    await first.flush();
    const pinned = { ...A, pin: ca.fingerprint };
    const book = await open({ loadBalancers: [pinned] });
    expect(book.trustFor(pinned)).toEqual({ kind: 'pin', sha256: ca.fingerprint });
    book.answered(pinned, answer(ca));
    await book.flush();
    expect((await open()).trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
  });

  it("by the user's CA", async () => {
    const book = await open({ caPem: ca.certPem, strict: true });
    expect(book.trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
    book.answered(A, answer(ca));
    await book.flush();
    expect((await open()).trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
  });

  it('by the CA it had on first use even if another process met another one at the same time', async () => {
    const [one, other] = [await open(), await open()];
    one.answered(A, answer(ca));
    await one.flush();
    other.answered(A, answer(otherCa));
    await other.flush();
    expect((await open()).trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
  });

  it('by the cluster whose balancer told of it', async () => {
    const book = await open();
    book.answered(A, answer(ca, ['lb-b.example:50050', 'lb-a.example:50050', 'nonsense']));
    await book.flush();
    expect((await open()).learned).toEqual([
      { ...A, pin: ca.fingerprint },
      { ...at('lb-b.example:50050'), pin: ca.fingerprint },
    ]);
    expect(await readdir(join(state, 'balancers'))).toHaveLength(1);
  });
});

describe('the balancers of before', () => {
  it('are those the user has named, not those they told of, and none on loopback', async () => {
    const store = new BalancerStore(state);
    expect(await store.known()).toEqual([]);
    const local = at('127.0.0.1:1');
    const book = await open({ loadBalancers: [A, local] });
    book.answered(A, answer(ca, ['lb-b.example:50050']));
    book.answered(local, answer(otherCa));
    await book.flush();
    expect(await store.known()).toEqual([A]);
  });
});

describe('--strict', () => {
  it('refuses a balancer that nothing is known of, and says what to ask for', async () => {
    const book = await open({ strict: true });
    expect(() => book.trustFor(A)).toThrow(
      expect.objectContaining({ code: 'CHATTY_UNTRUSTED', exitCode: 77 }) as Error,
    );
  });

  it('takes one that is stored', async () => {
    const book = await open();
    book.answered(A, answer(ca));
    await book.flush();
    expect((await open({ strict: true })).trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
  });
});

describe('a balancer on loopback', () => {
  it.each(['127.0.0.1:1', '[::1]:1', 'localhost:1', '127.8.9.1:1', 'lb.localhost:1'])(
    'is never stored: %s',
    async (text) => {
      const address = at(text);
      const book = await open({ loadBalancers: [address] });
      book.answered(address, answer(ca));
      book.keepServers([server('s1')]);
      await book.flush();
      expect(book.trustFor(address)).toEqual({ kind: 'first-use' });
      expect(await files()).toEqual([]);
    },
  );

  it('is known by its pin', async () => {
    const address = { ...at('127.0.0.1:1'), pin: ca.fingerprint };
    const book = await open({ loadBalancers: [address] });
    book.answered(address, answer(ca));
    await book.flush();
    expect(book.trustFor(address)).toEqual({ kind: 'pin', sha256: ca.fingerprint });
    expect(await files()).toEqual([]);
  });
});

describe('servers', () => {
  it('are those of the first answer, then those that worked', async () => {
    const book = await open();
    book.answered(A, answer(ca));
    await book.flush();
    expect((await open()).cachedServers).toEqual([server('s1'), server('s2')]);
    book.keepServers([server('s2')]);
    book.answered(A, answer(ca));
    await book.flush();
    expect((await open()).cachedServers).toEqual([server('s2')]);
  });

  it('are of no other cluster', async () => {
    const book = await open();
    book.answered(A, answer(ca));
    await book.flush();
    const B = at('lb-b.example:50050');
    expect((await open({ loadBalancers: [B] })).cachedServers).toEqual([]);
  });
});

describe('the state directory', () => {
  it('is not needed', async () => {
    const book = await open({ store: undefined });
    book.answered(A, answer(ca));
    await book.flush();
    expect(book.trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
    expect(await files()).toEqual([]);
  });

  it('may be full or read-only: the chat goes on', async () => {
    await writeFile(join(state, 'balancers'), 'in the way');
    const store = new BalancerStore(state);
    await expect(open({ store })).rejects.toMatchObject({ code: 'CHATTY_KEY_FILE' });
    await rm(join(state, 'balancers'));
    const book = await open({ store });
    await writeFile(join(state, 'balancers'), 'in the way');
    book.answered(A, answer(ca));
    await book.flush();
    expect(errors.splice(0)).toMatchObject([{ code: 'CHATTY_KEY_FILE' }]);
    expect(book.trustFor(A)).toEqual({ kind: 'ca', pem: ca.certPem });
  });

  it('refuses a damaged pin, naming the file', async () => {
    const book = await open();
    book.answered(A, answer(ca));
    await book.flush();
    const [name = ''] = await readdir(join(state, 'balancers'));
    const path = join(state, 'balancers', name);
    const whole = await readFile(path, 'utf8');
    await writeFile(path, whole.slice(0, -10));
    await expect(open()).rejects.toMatchObject({
      code: 'CHATTY_KEY_FILE',
      message: expect.stringContaining(path) as string,
    });
  });
});

describe('--ca FILE', () => {
  it('names the file that is missing or no certificate', async () => {
    const path = join(state, 'ca.pem');
    await expect(readCaFile(path)).rejects.toMatchObject({
      code: 'CHATTY_KEY_FILE',
      message: `cannot use the CA file ${path}: there is no such file`,
    });
    await writeFile(path, 'hello');
    await expect(readCaFile(path)).rejects.toMatchObject({ code: 'CHATTY_KEY_FILE' });
    await writeFile(path, ca.certPem);
    expect(await readCaFile(path)).toBe(ca.certPem);
  });
});
