export type { AcceptOptions } from './acceptor.ts';
export { kindOf } from './datagram.ts';
export { QuicEndpoint, type QuicEndpointOptions } from './endpoint.ts';
export type { EndpointStats } from './endpoint-stats.ts';
export type { QuicLimits } from './limits.ts';
export type { QuicStream } from './stream.ts';
export type { Admission, Carrier, QuicConnection } from './types.ts';
export { startStallWatchdog } from './stall-watchdog.ts';
