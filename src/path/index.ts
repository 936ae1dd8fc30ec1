export { CookieMint } from './address-cookie.ts';
export { answerBinding, encodeServerProbe, readServerAnswer } from './stun-server.ts';
export type { ServerObservation } from './stun-server.ts';
export { parseStun } from './stun.ts';
export type { StunMessage } from './stun.ts';
