import type { Address } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { NatClassification } from './nat-classification.ts';

/** What a peer tells its friend of its NAT. */
export interface NatReport {
  readonly mapping: NatClassification['mapping'];
  /** Where sequential: from one port to the next; never 0. */
  readonly step: number;
  /** The public address of a fresh mapping of its. */
  readonly lastObserved: Address;
  /** Whether UDP leaves the network to port 443 only, where no friend listens; default: not so. */
  readonly only443?: boolean;
}

/**
 * What one side does so that both meet where ordinary checks cannot:
 *
 *   none       nothing: ordinary checks suffice, or it is not known what a NAT does
 *   aim        send to the ports that the friend's mappings may have, or will have
 *   be-aimed   say where the next mappings will be, and open them at once
 *   meet       send from a few sockets to one port that the friend's next mappings may have
 *   open-many  send from many sockets to the friend's one port: as many ports through which it gets
 *              in; then again from others
 *   spray      send to random ports, until one is among those that the friend opens
 *   hopeless   nothing can be done: a port that cannot be foreseen has to meet one that is not known
 */
export type GuessPlan = 'none' | 'aim' | 'be-aimed' | 'meet' | 'open-many' | 'spray' | 'hopeless';

type Mapping = NatClassification['mapping'];

/**
 * By own NAT, then the friend's. Both sides read the same table, each from its side. Where one is
 * random, the other's port has to be one and known: a sequential NAT has another for each guess.
 *
 * Linux routers take a packet that nobody has asked for as theirs, and then give the flow that it would
 * have belonged to another port, and all flows after it from the same socket. So whoever opens ports
 * towards one that is known does it by packets that die on their way: what the other side sends has
 * to be the first that arrives.
 */
const PLANS: Readonly<Record<Mapping, Readonly<Record<Mapping, GuessPlan>>>> = {
  'endpoint-independent': { 'endpoint-independent': 'none', sequential: 'aim', random: 'spray' },
  sequential: { 'endpoint-independent': 'be-aimed', sequential: 'meet', random: 'hopeless' },
  random: { 'endpoint-independent': 'open-many', sequential: 'hopeless', random: 'hopeless' },
};

/** What this side does, given what each NAT does to ports; undefined: that is not known. */
export function guessPlan(own: Mapping | undefined, friend: Mapping | undefined): GuessPlan {
  return own === undefined || friend === undefined ? 'none' : PLANS[own][friend];
}

/** One check to one guessed port. */
interface Probe {
  /** Since the attempt began. */
  readonly atMs: number;
  readonly remote: Address;
  /** Which of the sockets opened for the attempt it goes from; undefined: the peer's own. */
  readonly socket: number | undefined;
  /** Whether it shall only open our own routers' ports, and die before it comes to the friend's. */
  readonly short?: boolean;
}

/** Everything one attempt sends unless it succeeds before. */
export interface Attempt {
  /** How many sockets it needs beside the peer's own. */
  readonly sockets: number;
  /** In order of time. */
  readonly probes: readonly Probe[];
  /** When it has failed, after time for the last answers. */
  readonly endsAtMs: number;
}

/** Ports that a NAT gives out: below are the system's (RFC 4787 §4.2.1). */
const FIRST_PORT = 1024;
const PORTS = 65_536 - FIRST_PORT;
/**
 * The first pass: the ports of the friend's next mappings. The second has more of them, and then those
 * before, one of which its first checks have: if our router has answered these, everything that is
 * sent after one to there leaves by another port, so that comes last.
 */
const NEXT_MAPPINGS = 8;
const WIDE = 50;
/** One that is predicted is checked after the one before: as fast as ordinary checks go (Ta). */
const AIM_SPACING_MS = 5;
/** From the last probe to the end of a pass: a round trip around the world. */
const ANSWER_MS = 400;
/** Mappings that the friend is to aim at: others behind the router may open some in between. */
const AIMED_SOCKETS = 6;
/** Again, in case one is lost, and until the friend's second pass. */
const AIMED_REPEATS_MS = [0, 150, 500];
/**
 * Sockets where both are sequential: as many mappings in a row, so that the friend may be wrong by as
 * many; and which of the friend's to aim at. Others behind a router move its ports on, never back.
 */
const MEET_SOCKETS = 10;
const MEET_AHEAD = 8;
/** The friend's side has to have opened its ports as well: each socket sends again. */
const MEET_REPEATS_MS = [0, 60, 150, 300, 500, 800];
/**
 * Of 64,512 ports the friend's 256 sockets hold so many that a guess hits with 1 in 252: half of all
 * attempts succeed within 174 probes, 98 % within 1,024, and 99.97 % within twice as many.
 */
const MANY_SOCKETS = 256;
const SPRAYED_PORTS = 2048;
/** 100 packets a second of some 200 bytes: nothing to a network, and 10 s until 98 %. */
const SPRAY_SPACING_MS = 10;
const MANY_SPACING_MS = 1;
/**
 * From one set of 256 sockets to the next. Each opens its ports at once, by packets that do not
 * arrive, and waits to be hit. Before the last ends it sends once more, to the end: what the friend
 * has sprayed before the set was opened lets that in, where no router has taken the friend's for its
 * own. Sooner it would spoil what comes after: of 256 ports the friend's router may take one for its
 * own, and when the friend sprays that, all that it sprays from then on leaves by another port.
 */
const MANY_LASTS_MS = [4_000, 4_000, 6_000, 8_000, 13_000];
const MANY_ARRIVE_MS = 1_000;
/** By then both sides have stopped. */
const GIVE_UP_MS = 35_000;

/** Where the friend is, as servers and the friend itself say. */
export interface GuessTarget {
  readonly nat: NatReport;
  /** Where servers see the friend's own socket. */
  readonly reflexive: Address;
}

/** Attempts at ports that can be foreseen, each from fresh reports. */
const FORESEEN_ATTEMPTS = 3;

/** What is to be sent, by plan. @returns undefined for those that send nothing (more). */
export function attemptOf(
  plan: GuessPlan,
  target: GuessTarget,
  random: Random,
  /** How many attempts there have been. */
  before: number,
): Attempt | undefined {
  const isOver = before >= FORESEEN_ATTEMPTS;
  switch (plan) {
    case 'aim':
      return isOver ? undefined : aim(target.nat);
    case 'be-aimed':
      return isOver ? undefined : fromMany(target.reflexive, AIMED_SOCKETS, AIMED_REPEATS_MS, true);
    case 'meet':
      return isOver
        ? undefined
        : fromMany(predicted(target.nat, MEET_AHEAD - 1), MEET_SOCKETS, MEET_REPEATS_MS, false);
    case 'open-many':
      return openMany(target.reflexive, before);
    case 'spray':
      return before > 0 ? undefined : spray(target.nat.lastObserved.host, random);
    case 'none':
    case 'hopeless':
      return undefined;
  }
}

/** The likeliest ports first, then those again and more around them: the first may have been lost. */
function aim(nat: NatReport): Attempt {
  const narrow = upTo(NEXT_MAPPINGS);
  const wide = [...upTo(WIDE), ...upTo(WIDE).map((offset) => -1 - offset)];
  const wideAtMs = narrow.length * AIM_SPACING_MS + ANSWER_MS;
  const pass = (startMs: number, list: readonly number[]): Probe[] =>
    list.map((offset, index) => ({
      atMs: startMs + index * AIM_SPACING_MS,
      remote: predicted(nat, offset),
      socket: undefined,
    }));
  return {
    sockets: 0,
    probes: [...pass(0, narrow), ...pass(wideAtMs, wide)],
    endsAtMs: wideAtMs + wide.length * AIM_SPACING_MS + ANSWER_MS,
  };
}

/** One after the other from each socket, in order: that of their mappings. */
function fromMany(
  remote: Address,
  sockets: number,
  timesMs: readonly number[],
  short: boolean,
): Attempt {
  const probes = timesMs.flatMap((atMs) =>
    upTo(sockets).map((socket): Probe => ({ atMs, remote, socket, short })),
  );
  return { sockets, probes, endsAtMs: Math.max(...timesMs) + ANSWER_MS };
}

function openMany(remote: Address, before: number): Attempt | undefined {
  const endsAtMs = MANY_LASTS_MS[before];
  if (endsAtMs === undefined) return undefined;
  const round = (startMs: number, short: boolean): Probe[] =>
    upTo(MANY_SOCKETS).map((socket) => {
      return { atMs: startMs + socket * MANY_SPACING_MS, remote, socket, short };
    });
  const isLast = before === MANY_LASTS_MS.length - 1;
  const probes = [...round(0, true), ...(isLast ? round(endsAtMs - MANY_ARRIVE_MS, false) : [])];
  return { sockets: MANY_SOCKETS, probes, endsAtMs };
}

function spray(host: string, random: Random): Attempt {
  const ports = new Set<number>();
  while (ports.size < SPRAYED_PORTS) ports.add(FIRST_PORT + random.below(PORTS));
  const probes = [...ports].map((port, index): Probe => {
    return { atMs: index * SPRAY_SPACING_MS, remote: { host, port }, socket: undefined };
  });
  return { sockets: 0, probes, endsAtMs: GIVE_UP_MS };
}

/** 0, 1, 2 … below `end`. */
function upTo(end: number): number[] {
  return Array.from({ length: end }, (_, index) => index);
}

/** The address of the mapping that is `offset` after the next. */
function predicted({ lastObserved: { host, port }, step }: NatReport, offset: number): Address {
  const far = port - FIRST_PORT + (1 + offset) * step;
  return { host, port: FIRST_PORT + (((far % PORTS) + PORTS) % PORTS) };
}
