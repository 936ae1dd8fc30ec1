export {
  type AcceptOptions,
  type DatagramListener,
  type DialOptions,
  type EndpointStats,
  QuicEndpoint,
  type QuicEndpointOptions,
} from './endpoint.ts';
export type { QuicLimits } from './limits.ts';
export type { QuicStream } from './stream.ts';
export type { Admission, Carrier, CloseReason, QuicConnection } from './types.ts';
export { startStallWatchdog, type StallWatchdogOptions, type Stop } from './stall-watchdog.ts';
