export { CookieMint } from './address-cookie.ts';
export { gatherHostCandidates } from './candidate.ts';
export type { Candidate, CandidateKind, Interfaces, LocalPorts } from './candidate.ts';
export {
  admitFromPeer,
  admitFromServer,
  discloseCandidates,
  isOnLoopback,
} from './candidate-rules.ts';
export type { OwnSituation } from './candidate-rules.ts';
export { answerBinding, encodeServerProbe, readServerAnswer } from './stun-server.ts';
export type { ServerObservation } from './stun-server.ts';
export { parseStun } from './stun.ts';
export type { StunMessage } from './stun.ts';
export type { Path } from './candidate-pair.ts';
export type { Credentials } from './check-message.ts';
export { PathAgent } from './path-agent.ts';
export type { PathAgentOptions } from './path-agent.ts';
export type { IgnoredMessages, PathEffect, PathInput, PathState } from './path-events.ts';
