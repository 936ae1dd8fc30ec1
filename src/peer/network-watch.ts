import type { NetworkInterfaceInfo } from 'node:os';
import { canonicalIp, scopeOf } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';

/** Node tells nobody of new addresses; to look costs some 50 µs, and a path lives for 6.5 s. */
const LOOK_EVERY_MS = 2_000;
/** What came later than this was not looked for in time: the computer slept, or was stopped. */
const ASLEEP_AFTER_MS = 2 * LOOK_EVERY_MS;

/** What `os.networkInterfaces()` returns. */
type Interfaces = Readonly<Partial<Record<string, readonly NetworkInterfaceInfo[]>>>;

/** One look at the computer's network. */
export interface NetworkLook {
  readonly interfaces: Interfaces;
  /** Of the monotonic clock, which on some systems stands still while the computer sleeps. */
  readonly now: number;
  /** Of the calendar, which goes on, but may be set. */
  readonly wallClock: number;
}

/**
 * `moved`: the computer has other addresses than before; `woken`: nobody looked for so long that the
 * network may have forgotten it. A calendar that is set forward passes for that, and does no harm.
 */
export type NetworkChange = 'moved' | 'woken';

/** Compares one look at the network with the one before. Pure. */
export class NetworkMemory {
  #last: { readonly addresses: string; readonly now: number; readonly wallClock: number };

  constructor(first: NetworkLook) {
    this.#last = { ...first, addresses: addressesOf(first.interfaces) };
  }

  /** @returns what has happened since the look before; undefined: nothing. */
  compare({ interfaces, now, wallClock }: NetworkLook): NetworkChange | undefined {
    const before = this.#last;
    this.#last = { addresses: addressesOf(interfaces), now, wallClock };
    if (this.#last.addresses !== before.addresses) return 'moved';
    const passedMs = Math.max(now - before.now, wallClock - before.wallClock);
    return passedMs > ASLEEP_AFTER_MS ? 'woken' : undefined;
  }
}

/** Looks every 2 s whether the computer is on another network, or was asleep. */
export class NetworkWatch {
  readonly #clock: Clock;
  readonly #interfaces: () => Interfaces;
  readonly #changed: (change: NetworkChange) => void;
  readonly #memory: NetworkMemory;
  #timer: Timer;

  constructor(options: {
    readonly clock: Clock;
    interfaces(): Interfaces;
    changed(change: NetworkChange): void;
  }) {
    this.#clock = options.clock;
    this.#interfaces = () => options.interfaces();
    this.#changed = (change) => options.changed(change);
    this.#memory = new NetworkMemory(this.#look());
    this.#timer = this.#later();
  }

  close(): void {
    this.#timer.cancel();
  }

  #later(): Timer {
    return this.#clock.setTimer(LOOK_EVERY_MS, () => {
      this.#timer = this.#later();
      const change = this.#memory.compare(this.#look());
      if (change !== undefined) this.#changed(change);
    });
  }

  #look(): NetworkLook {
    const now = this.#clock.now();
    return { interfaces: this.#interfaces(), now, wallClock: this.#clock.wallClock() };
  }
}

/**
 * Every address that others could reach, with its network: the same address of another network's is
 * another one. What every interface gives itself says nothing of where it is.
 */
function addressesOf(interfaces: Interfaces): string {
  const all = Object.entries(interfaces).flatMap(([name, infos]) =>
    (infos ?? [])
      .filter(({ address, internal, family }) => {
        const isOwn = family === 'IPv6' && scopeOf(canonicalIp(address)) === 'link-local';
        return !internal && !isOwn;
      })
      .map(({ address, netmask }) => `${name} ${address} ${netmask}`),
  );
  return all.sort().join('\n');
}
