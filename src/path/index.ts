export { CookieMint } from './address-cookie.ts';
export { gatherHostCandidates } from './candidate.ts';
export type { Candidate } from './candidate.ts';
export type { Path } from './candidate-pair.ts';
export {
  admitFromPeer,
  discloseCandidates,
  isOnLoopback,
  isSafeTarget,
} from './candidate-rules.ts';
export type { Credentials } from './check-message.ts';
export { classifyNat } from './nat-classification.ts';
export type { NatClassification, Observation } from './nat-classification.ts';
export { PathAgent } from './path-agent.ts';
export type { PathEffect, PathInput } from './path-events.ts';
export { relayAddress } from './relay-address.ts';
export { RelayBinding, type RelayBindingInput } from './relay-binding.ts';
export {
  encodeRelayFrame,
  readRelayFrame,
  type RelayFrame,
  type RelayLimit,
} from './relay-frame.ts';
export { GuessTurn, PortGuess } from './port-guess.ts';
export type { GuessProgress, PortGuessEffect, PortGuessInput } from './port-guess.ts';
export type { GuessTarget, NatReport } from './port-prediction.ts';
export { Reopening, type ReopeningEffect, type ReopeningInput } from './reopening.ts';
export { answerBinding, encodeServerProbe, readServerAnswer } from './stun-server.ts';
export type { ServerObservation } from './stun-server.ts';
export { parseStun, type StunMessage, usernameOf } from './stun.ts';
