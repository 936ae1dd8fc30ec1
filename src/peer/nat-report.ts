import { type Address, familyOf } from '../base/address.ts';
import type { GuessTarget, NatReport } from '../path/index.ts';
import {
  CandidateKind,
  type Endpoint,
  type NatReport as WireNatReport,
  PortMapping,
} from '../rpc/generated/chatty/v1/common.ts';
import { addressFromWire, addressToWire } from '../rpc/wire-address.ts';

const MAPPINGS: readonly (readonly [NatReport['mapping'], PortMapping])[] = [
  ['endpoint-independent', PortMapping.PORT_MAPPING_ENDPOINT_INDEPENDENT],
  ['sequential', PortMapping.PORT_MAPPING_SEQUENTIAL],
  ['random', PortMapping.PORT_MAPPING_RANDOM],
];
/** Ports further apart than this are no sequence: the classification finds no larger step. */
const MAX_STEP = 20;

export function natReportToWire(report: NatReport): WireNatReport {
  const { mapping, step, lastObserved, only443 = false } = report;
  const wire = MAPPINGS.find(([own]) => own === mapping)?.[1];
  return {
    mapping: wire ?? PortMapping.PORT_MAPPING_UNSPECIFIED,
    step,
    lastObserved: addressToWire(lastObserved),
    only443,
  };
}

/**
 * Where to guess for the friend of a match: what it says of its NAT, and where servers see it. Both
 * have to be one address, or ports would be guessed at somebody else's.
 * @returns undefined where nothing, or nothing that can be, is said.
 */
export function guessTargetOf(
  endpoint: Endpoint,
): Pick<GuessTarget, 'nat' | 'reflexive'> | undefined {
  const { nat } = endpoint;
  const mapping = MAPPINGS.find(([, wire]) => wire === nat?.mapping)?.[0];
  const lastObserved = addressFromWire(nat?.lastObserved);
  if (nat === undefined || mapping === undefined || lastObserved === undefined) return undefined;
  const { step, only443 } = nat;
  const isSequence = step !== 0 && Math.abs(step) <= MAX_STEP;
  if (mapping === 'sequential' && !isSequence) return undefined;
  const reflexive = reflexiveOf(endpoint, lastObserved.host);
  if (reflexive === undefined || familyOf(lastObserved) !== 4) return undefined;
  return { nat: { mapping, step, lastObserved, only443 }, reflexive };
}

function reflexiveOf(endpoint: Endpoint, host: string): Address | undefined {
  return endpoint.candidates
    .filter(({ kind }) => kind === CandidateKind.CANDIDATE_KIND_SERVER_REFLEXIVE)
    .map(({ address }) => addressFromWire(address))
    .find((address) => address?.host === host);
}
