import { type Address, formatAddress, parseAddress } from '../../../src/base/address.ts';
import { seededRandom } from '../../../src/base/random.ts';
import type { Candidate } from '../../../src/path/candidate.ts';
import { CheckCodec, type PairState } from '../../../src/path/check-message.ts';
import { PathAgent, type PathAgentOptions } from '../../../src/path/path-agent.ts';
import type { PathEffect, PathInput } from '../../../src/path/path-events.ts';
import { parseStun, type StunMessage } from '../../../src/path/stun.ts';

export const LOCAL = { ufrag: 'localfrag', password: 'the-password-of-this-side' };
export const REMOTE = { ufrag: 'remotefrag', password: 'the-password-of-the-friend' };
export const OWN: Address = { host: '203.0.113.5', port: 5000 };

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

export const candidate = (kind: Candidate['kind'], text: string): Candidate => ({
  kind,
  address: address(text),
});

export function parsed(datagram: Uint8Array): StunMessage {
  const message = parseStun(datagram);
  if (message === undefined) throw new Error('not a STUN message');
  return message;
}

export interface Sent {
  readonly at: number;
  readonly to: string;
  readonly message: StunMessage;
}

/** An agent whose friend is the test: what it sends and says is recorded with its time. */
export class Harness {
  readonly agent: PathAgent;
  readonly sent: Sent[] = [];
  readonly events: string[] = [];
  readonly friend: CheckCodec;
  now = 0;
  #ids = 0;

  constructor(
    candidates: readonly Candidate[],
    options: Partial<PathAgentOptions> = {},
    friend = REMOTE,
  ) {
    this.friend = new CheckCodec(friend, LOCAL);
    this.agent = new PathAgent(
      {
        local: LOCAL,
        remote: REMOTE,
        remoteCandidates: candidates,
        families: new Set([4, 6] as const),
        onLoopback: false,
        controlling: false,
        random: seededRandom(1),
        ...options,
      },
      0,
    );
  }

  step(input: PathInput): PathEffect[] {
    const effects = this.agent.step(input, this.now);
    for (const effect of effects) {
      if (effect.type === 'send') {
        const message = parsed(effect.datagram);
        this.sent.push({ at: this.now, to: formatAddress(effect.remote), message });
      } else this.events.push(this.#describe(effect));
    }
    return effects;
  }

  #describe(effect: Exclude<PathEffect, { type: 'send' }>): string {
    const at = `${Math.round(this.now)} ${effect.type}`;
    if ('path' in effect) return `${at} ${formatAddress(effect.path.remote)}`;
    return effect.type === 'round-failed' ? `${at} ${effect.round}` : at;
  }

  /** Lets time pass, the agent being told exactly when it asked to be. */
  runUntil(end: number): void {
    for (let steps = 0; ; steps++) {
      const deadline = this.agent.nextDeadline();
      if (deadline === undefined || deadline > end) break;
      if (steps > 10_000) throw new Error('deadlines make no progress');
      this.now = Math.max(this.now, deadline);
      this.step({ type: 'tick' });
    }
    this.now = end;
  }

  receive(datagram: Uint8Array, from: string): PathEffect[] {
    return this.step({ type: 'stun', message: parsed(datagram), remote: address(from) });
  }

  /** The friend's check, with a transaction id of its own. */
  check(state: Told = {}, small = false): Uint8Array {
    const id = new Uint8Array(12)
      .fill(0xee)
      .with(0, ++this.#ids & 0xff)
      .with(1, this.#ids >> 8);
    return this.friend.encodeCheck(id, stateOf(state), small);
  }

  /** The friend's answer to the last check that went to `to`. */
  answer(to: string, state: Told = {}): Uint8Array {
    const check = this.checks(to).at(-1);
    if (check === undefined) throw new Error(`nothing was sent to ${to}`);
    return this.friend.encodeAnswer(check.message.transactionId, OWN, stateOf(state));
  }

  checks(to?: string): Sent[] {
    return this.sent.filter(
      (sent) => sent.message.kind === 'request' && (to === undefined || sent.to === to),
    );
  }

  /** A path at `to` that both sides have checked, after `rttMs`. */
  establish(to: string, lan = false, rttMs = 10): void {
    this.now += rttMs;
    this.receive(this.answer(to, { answered: true, lan }), to);
  }
}

interface Told {
  readonly answered?: boolean;
  readonly lan?: boolean;
  readonly nomination?: number;
}

export function stateOf({ answered = false, lan = false, nomination = 0 }: Told): PairState {
  return { answered, pathClass: lan ? 'lan' : 'public', nomination };
}

export const PUBLIC = '198.51.100.7:7000';
export const LAN = '192.168.1.7:7000';
