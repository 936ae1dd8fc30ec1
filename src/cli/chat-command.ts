import { systemClock } from '../base/clock.ts';
import { ChattyError } from '../base/errors.ts';
import { formatAddress } from '../base/address.ts';
import { Chatty } from '../chat/chatty.ts';
import { BalancerStore } from '../peer/balancer-store.ts';
import { readCaFile } from '../peer/trust.ts';
import { startStallWatchdog } from '../quic/index.ts';
import { ChatRun } from './chat-run.ts';
import { jsonLines } from './json-lines.ts';
import { LineScreen } from './line-screen.ts';
import type { Context } from './program.ts';
import type { Screen } from './shown-event.ts';

/** A chat holds some 100 MB; what holds so much more has been made to. */
const MAX_RSS_BYTES = 2 * 1024 ** 3;

/** Who chats with whom; names in their one form, and two different ones. */
export interface Pair {
  readonly name: string;
  readonly friend: string;
}

/** What `chatty` was told, by whatever source. */
export interface PeerSettings {
  readonly loadBalancers: readonly string[];
  readonly caFile: string | undefined;
  readonly strict: boolean;
  readonly friendKey: string | undefined;
  readonly state: string;
  readonly timeoutMs: number | undefined;
  readonly json: boolean;
  /** Whether servers may pass on what friends say to each other. */
  readonly relay: boolean;
  /** Whether the router may be asked for a port. */
  readonly portMapping: boolean;
}

/**
 * Chats until it is over. With JSON lines, whatever ends it is an `error` line too.
 * @param invite makes the link to show first, of one's own fingerprint.
 * @returns the exit code.
 * @throws ChattyError
 */
export async function chat(
  pair: Pair,
  settings: PeerSettings,
  context: Context,
  invite?: (fingerprint: string, loadBalancers: readonly string[]) => Promise<string>,
): Promise<number> {
  const { io } = context;
  const startedAt = systemClock.now();
  const typed = io.stdin.isTTY === true;
  const json = settings.json || !typed;
  try {
    const caPem = settings.caFile === undefined ? undefined : await readCaFile(settings.caFile);
    const loadBalancers = await requireBalancers(settings);
    startStallWatchdog({ maxRssBytes: MAX_RSS_BYTES });
    await using chatty = await Chatty.open({
      name: pair.name,
      loadBalancers,
      state: settings.state,
      caPem,
      strict: settings.strict,
      relay: settings.relay,
      portMapping: settings.portMapping,
      logger: context.logger,
    });
    const screen: Screen = json
      ? jsonLines
      : new LineScreen({
          ownName: pair.name,
          friend: pair.friend,
          ownFingerprint: chatty.fingerprint,
          loadBalancer: loadBalancers[0] ?? '',
        });
    const link = await invite?.(chatty.fingerprint, loadBalancers);
    if (link !== undefined) {
      const shown = screen.show({ type: 'invitation', link }, systemClock.now() - startedAt);
      io.stdout.write(`${shown ?? link}\n`);
    }
    return await new ChatRun({
      chatty,
      conversation: chatty.connect(pair.friend, { friendKey: settings.friendKey }),
      screen,
      clock: systemClock,
      startedAt,
      timeoutMs: settings.timeoutMs,
      input: io.stdin,
      typed,
      output: io.stdout,
      signal: context.signal,
    }).run();
  } catch (error) {
    if (json && error instanceof ChattyError) {
      const line = jsonLines.show({ type: 'error', error }, systemClock.now() - startedAt);
      io.stdout.write(`${line ?? ''}\n`);
    }
    throw error;
  }
}

/** The balancers named now, else those of before. @throws ChattyError CHATTY_USAGE for none. */
export async function requireBalancers(
  settings: Pick<PeerSettings, 'loadBalancers' | 'state'>,
): Promise<readonly string[]> {
  if (settings.loadBalancers.length > 0) return settings.loadBalancers;
  const known = await new BalancerStore(settings.state).known();
  if (known.length > 0) return known.map(formatAddress);
  throw new ChattyError(
    'CHATTY_USAGE',
    '--loadbalancer is missing, and none is known from before',
    {
      hint: 'Give it as --lb HOST:PORT, as CHATTY_LOADBALANCER in the environment, or in a --config file.',
    },
  );
}
