export {
  type AcceptOptions,
  type EndpointStats,
  QuicEndpoint,
  type QuicEndpointOptions,
} from './endpoint.ts';
export type { QuicLimits } from './limits.ts';
export type { QuicStream } from './stream.ts';
export type { Admission, Carrier, QuicConnection } from './types.ts';
export { startStallWatchdog } from './stall-watchdog.ts';
