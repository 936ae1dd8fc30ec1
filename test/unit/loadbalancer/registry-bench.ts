import type {
  CheckOutcome,
  RegistryEffect,
  RegistryInput,
} from '../../../src/loadbalancer/events.ts';
import type { Member } from '../../../src/loadbalancer/member.ts';
import { Registry } from '../../../src/loadbalancer/registry.ts';
import { DEFAULT_SETTINGS, type LoadBalancerSettings } from '../../../src/loadbalancer/settings.ts';
import { seededRandom } from '../../../src/base/random.ts';

/** A server named by a letter, its address by the letter's number. */
export function member(letter: string, incarnation = 1, port = 50051): Member {
  const host = `10.0.0.${letter.charCodeAt(0)}`;
  return {
    id: letter,
    incarnation: BigInt(incarnation),
    peerAddresses: [{ host, port: 4433 }],
    clusterAddresses: [{ host, port }],
    certificate: new Uint8Array([letter.charCodeAt(0)]),
  };
}

/**
 * A registry on a workbench: inputs in a line each, effects as a line of text each, so that a test
 * shows the whole list.
 */
export class RegistryBench {
  readonly registry: Registry;
  now = 0;
  #lastCall = 0;

  constructor(settings: Partial<LoadBalancerSettings> = {}, seed = 1) {
    this.registry = new Registry({ ...DEFAULT_SETTINGS, ...settings }, seededRandom(seed));
  }

  step(input: RegistryInput): string[] {
    return this.registry.step(input, this.now).map(describe);
  }

  register(server: Member, balancers: string[] = []): string[] {
    this.#lastCall += 1;
    return this.step({ kind: 'register', call: this.#lastCall, member: server, balancers });
  }

  checked(check: number, outcome: CheckOutcome): string[] {
    return this.step({ kind: 'checked', check, outcome });
  }

  /** Registers servers and has each found serving. */
  list(...letters: string[]): void {
    for (const letter of letters) {
      for (const line of this.register(member(letter))) {
        const check = /^check (\d+) /.exec(line);
        if (check !== null) this.checked(Number(check[1]), 'serving');
      }
    }
  }

  /** Goes to the next deadline and ticks. */
  tick(): string[] {
    const next = this.registry.nextDeadline();
    if (next === undefined) throw new Error('nothing is due');
    this.now = next;
    return this.step({ kind: 'tick' });
  }

  /** Ticks until a round of checks begins. @returns the number of each server's check. */
  round(): Map<string, number> {
    for (;;) {
      const checks = this.tick().flatMap((line) => {
        const match = /^check (\d+) (\S+)/.exec(line);
        return match === null ? [] : [[String(match[2]), Number(match[1])] as const];
      });
      if (checks.length > 0) return new Map(checks);
    }
  }

  /** Registers servers again, for their leases' sake. */
  renew(...letters: string[]): void {
    for (const letter of letters) this.register(member(letter));
  }

  handedOut(): string {
    const handOut = this.registry.handOut(this.now);
    return handOut === undefined ? 'nobody' : handOut.servers.map(({ id }) => id).join(' ');
  }
}

function describe(effect: RegistryEffect): string {
  switch (effect.kind) {
    case 'check':
      return `check ${effect.check} ${effect.member.id} within ${effect.deadlineMs}`;
    case 'probe':
      return `probe ${effect.probe} ${effect.target.id} via ${effect.via.id}`;
    case 'notify':
      return `notify ${effect.notice} ${effect.to.id}: ${effect.fact.member.id} ${effect.fact.state}`;
    case 'answer': {
      const members = effect.members.map(({ id }) => id).join(' ');
      return `answer ${effect.call}: ${effect.listed ? 'listed' : effect.reason} [${members}]`;
    }
    case 'refuse':
      return `refuse ${effect.call}: ${effect.why}`;
    case 'forget':
      return `forget ${effect.id}`;
    case 'report':
      return `report ${effect.member?.id ?? 'self'} ${effect.event}: ${effect.reason}`;
  }
}
