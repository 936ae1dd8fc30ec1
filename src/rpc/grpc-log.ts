import { setLogger } from '@grpc/grpc-js';
import type { Logger } from '../base/logger.ts';

/** Has gRPC's own sentences, which it would print to stderr as they are, go to `logger` as debug. */
export function routeGrpcLog(logger: Logger): void {
  const write = (...parts: unknown[]): void => {
    logger.debug('grpc', { text: parts.map(String).join(' ') });
  };
  setLogger({ debug: write, info: write, error: write });
}
