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
}

/**
 * What one side does so that both meet where ordinary checks cannot:
 *
 *   none       nothing: ordinary checks suffice, or it is not known what a NAT does
 *   aim        send to the ports that the friend's next mappings may have
 *   be-aimed   say where the next mapping will be, and hold the one towards the friend open
 *   meet       send from a few sockets to one port that the friend's next mappings may have
 *   open-many  send from many sockets to the friend's one port: as many ports through which it gets in
 *   spray      send to random ports, until one of those that the friend opened is hit
 *   hopeless   nothing can be done: a port that cannot be foreseen has to meet one that is not known
 */
export type GuessPlan = 'none' | 'aim' | 'be-aimed' | 'meet' | 'open-many' | 'spray' | 'hopeless';

type Mapping = NatClassification['mapping'];

/**
 * By own NAT, then the friend's. Both sides read the same table, each from its side. Where one is
 * random, the other's port has to be one and known: a sequential NAT has another for each guess.
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
/** First the ports of so many mappings, around where the friend's most likely is; then of more. */
const NARROW = 10;
const WIDE = 50;
/**
 * A friend that has just said where its next mapping would be has sent its first checks before that:
 * its mapping is some behind, by what it asked and what others opened meanwhile.
 */
const FRESH_LAG = 6;
/** One that is predicted is checked after the one before: as fast as ordinary checks go (Ta). */
const AIM_SPACING_MS = 5;
/** From the last probe to the end of a pass: a round trip around the world. */
const ANSWER_MS = 400;
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
/** The worst routers forget a mapping after 20 s. */
const MANY_REPEAT_MS = 9_000;
/** By then both sides have stopped. */
const GIVE_UP_MS = 35_000;

/** Where the friend is, as servers and the friend itself say. */
export interface GuessTarget {
  readonly nat: NatReport;
  /** Whether the report was made after the friend's first checks had gone out. */
  readonly isFresh: boolean;
  /** Where servers see the friend's own socket. */
  readonly reflexive: Address;
}

/** What is to be sent, by plan. @returns undefined for those that send nothing. */
export function attemptOf(
  plan: GuessPlan,
  target: GuessTarget,
  random: Random,
): Attempt | undefined {
  switch (plan) {
    case 'aim':
      return aim(target);
    case 'meet':
      return meet(target.nat);
    case 'open-many':
      return openMany(target.reflexive);
    case 'spray':
      return spray(target.nat.lastObserved.host, random);
    case 'none':
    case 'be-aimed':
    case 'hopeless':
      return undefined;
  }
}

/** The likeliest ports first, then all again with more around them: the first may have been lost. */
function aim({ nat, isFresh }: GuessTarget): Attempt {
  const lag = isFresh ? FRESH_LAG : 0;
  const narrow = offsets(NARROW).map((offset) => offset - lag);
  const wide = offsets(WIDE).map((offset) => offset - lag);
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

function meet(nat: NatReport): Attempt {
  const remote = predicted(nat, MEET_AHEAD - 1);
  const probes = MEET_REPEATS_MS.flatMap((atMs) =>
    Array.from({ length: MEET_SOCKETS }, (_, socket): Probe => ({ atMs, remote, socket })),
  );
  const endsAtMs = Math.max(...MEET_REPEATS_MS) + ANSWER_MS;
  return { sockets: MEET_SOCKETS, probes, endsAtMs };
}

function openMany(remote: Address): Attempt {
  const rounds = Array.from({ length: Math.floor(GIVE_UP_MS / MANY_REPEAT_MS) }, (_, n) => n);
  const probes = rounds.flatMap((round) =>
    Array.from({ length: MANY_SOCKETS }, (_, socket): Probe => {
      return { atMs: round * MANY_REPEAT_MS + socket * MANY_SPACING_MS, remote, socket };
    }),
  );
  return { sockets: MANY_SOCKETS, probes, endsAtMs: GIVE_UP_MS };
}

function spray(host: string, random: Random): Attempt {
  const ports = new Set<number>();
  while (ports.size < SPRAYED_PORTS) ports.add(FIRST_PORT + random.below(PORTS));
  const probes = [...ports].map((port, index): Probe => {
    return { atMs: index * SPRAY_SPACING_MS, remote: { host, port }, socket: undefined };
  });
  return { sockets: 0, probes, endsAtMs: GIVE_UP_MS };
}

/** 0, 1, -1, 2, -2 … up to `most`: in mappings, from the next one. */
function offsets(most: number): number[] {
  return Array.from({ length: 2 * most + 1 }, (_, index) =>
    index % 2 === 0 ? -index / 2 : (index + 1) / 2,
  );
}

/** The address of the mapping that is `offset` after the next. */
function predicted({ lastObserved: { host, port }, step }: NatReport, offset: number): Address {
  const far = port - FIRST_PORT + (1 + offset) * step;
  return { host, port: FIRST_PORT + (((far % PORTS) + PORTS) % PORTS) };
}
