import { type BalancerAddress, parseBalancerAddress } from '../base/balancer-address.ts';
import { systemClock } from '../base/clock.ts';
import { ChattyError, ExitCode } from '../base/errors.ts';
import { parseFingerprint } from '../base/identity.ts';
import { BalancerStore } from '../peer/balancer-store.ts';
import { openIdentity, personDirectory } from '../peer/identity-store.ts';
import { BalancerTrustBook, readCaFile } from '../peer/trust.ts';
import { fetchServers } from '../rpc/balancer-client.ts';
import { chat, type Pair, type PeerSettings, requireBalancers } from './chat-command.ts';
import { formatInvitation } from './invite-link.ts';
import { jsonLines } from './json-lines.ts';
import type { Context } from './program.ts';

/** How long a load balancer may take to show its cluster's CA. */
const ANSWER_MS = 5_000;

export interface InviteOptions extends PeerSettings {
  readonly print: boolean;
}

/**
 * Shows a link for the friend, then chats unless it was only to be printed.
 * @returns the exit code.
 * @throws ChattyError
 */
export async function runInvite(
  pair: Pair,
  settings: InviteOptions,
  context: Context,
): Promise<number> {
  const linkFor = async (key: Uint8Array, balancers: readonly string[]): Promise<string> =>
    formatInvitation({
      inviter: pair.name,
      guest: pair.friend,
      key,
      loadBalancers: await pinned(balancers, settings, context.signal),
    });
  if (!settings.print) {
    return chat(pair, settings, context, (fingerprint, balancers) =>
      linkFor(parseFingerprint(fingerprint) ?? new Uint8Array(32), balancers),
    );
  }
  const identity = await openIdentity(personDirectory(settings.state, pair.name));
  const link = await linkFor(identity.fingerprint, await requireBalancers(settings));
  const line = settings.json ? jsonLines.show({ type: 'invitation', link }, 0) : link;
  context.io.stdout.write(`${line ?? ''}\n`);
  return ExitCode.done;
}

/**
 * The balancers with the pins of their clusters, for people who know neither: each without one is
 * asked. One that does not answer is left out while there is another.
 */
async function pinned(
  balancers: readonly string[],
  settings: PeerSettings,
  signal: AbortSignal,
): Promise<BalancerAddress[]> {
  const loadBalancers = balancers
    .map(parseBalancerAddress)
    .filter((address) => address !== undefined);
  const trust = await BalancerTrustBook.open({
    loadBalancers,
    caPem: settings.caFile === undefined ? undefined : await readCaFile(settings.caFile),
    strict: settings.strict,
    store: new BalancerStore(settings.state),
    // What cannot be stored is no reason to fail: the chat itself reports it.
    onStoreError: () => undefined,
  });
  const asked = await Promise.allSettled(
    loadBalancers.map((address) => withPin(address, trust, signal)),
  );
  await trust.flush();
  const answered = asked.filter((result) => result.status === 'fulfilled');
  if (answered.length > 0) return answered.map(({ value }) => value);
  const [first] = asked;
  if (first?.status === 'rejected' && first.reason instanceof ChattyError) throw first.reason;
  throw new ChattyError('CHATTY_NO_SERVER', 'no load balancer shows the key of its cluster');
}

async function withPin(
  address: BalancerAddress,
  trust: BalancerTrustBook,
  signal: AbortSignal,
): Promise<BalancerAddress> {
  if (address.pin !== undefined) return address;
  const answer = await fetchServers({
    address,
    trust: trust.trustFor(address),
    deadlineMs: ANSWER_MS,
    clock: systemClock,
    signal,
  });
  trust.answered(address, answer);
  return { ...address, pin: answer.caFingerprint };
}
