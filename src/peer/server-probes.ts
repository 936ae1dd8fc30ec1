import { type Address, sameAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import {
  encodeServerProbe,
  readServerAnswer,
  type ServerObservation,
  type StunMessage,
} from '../path/index.ts';

/** A server that has not answered a probe after these many milliseconds will not. */
const PROBE_AT_MS = [0, 100, 300, 700] as const;
const PROBE_GIVE_UP_MS = 1_500;

interface Probe {
  readonly remote: Address;
  /** See `Path.local`. */
  readonly local: Address | undefined;
  readonly transactionId: Uint8Array;
  answered(observation: ServerObservation): void;
}

/** The questions to servers under which address they see us. */
export class ServerProbes {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #send: (datagram: Uint8Array, remote: Address, local: Address | undefined) => void;
  readonly #open = new Set<Probe>();

  constructor(options: {
    readonly clock: Clock;
    readonly random: Random;
    send(datagram: Uint8Array, remote: Address, local: Address | undefined): void;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#send = (datagram, remote, local) => options.send(datagram, remote, local);
  }

  /**
   * Asks one server, from a socket of ours as in `Path.local`. Resolves to undefined where it does
   * not answer within 1.5 s.
   */
  ask(remote: Address, local?: Address): Promise<ServerObservation | undefined> {
    const transactionId = this.#random.bytes(12);
    const datagram = encodeServerProbe(transactionId);
    return new Promise((resolve) => {
      const timers: Timer[] = [];
      const done = (observation: ServerObservation | undefined): void => {
        for (const timer of timers) timer.cancel();
        this.#open.delete(probe);
        resolve(observation);
      };
      const probe: Probe = { remote, local, transactionId, answered: done };
      this.#open.add(probe);
      for (const atMs of PROBE_AT_MS) {
        if (atMs === 0) this.#send(datagram, remote, local);
        else timers.push(this.#clock.setTimer(atMs, () => this.#send(datagram, remote, local)));
      }
      timers.push(this.#clock.setTimer(PROBE_GIVE_UP_MS, () => done(undefined)));
    });
  }

  /** Takes a STUN message. @returns whether it answers a question of ours. */
  receive(message: StunMessage, remote: Address, local: Address | undefined): boolean {
    for (const probe of this.#open) {
      if (!sameAddress(probe.remote, remote) || probe.local !== local) continue;
      const observation = readServerAnswer(message, probe.transactionId);
      if (observation === undefined) continue;
      probe.answered(observation);
      return true;
    }
    return false;
  }
}
