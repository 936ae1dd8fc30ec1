import { type ClientUnaryCall, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';

export interface CallLimits {
  /** The call fails with DEADLINE_EXCEEDED when it has no answer by then. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  /** Cancels the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One call with one answer, as a promise:
 * `unary((metadata, options, done) => client.register(request, metadata, options, done), limits)`.
 * @throws the gRPC ServiceError the call failed with; see `answeredError` and `callFailure`.
 */
export function unary<Response>(
  start: (
    metadata: Metadata,
    options: { deadline: number },
    done: (error: ServiceError | null, response: Response) => void,
  ) => ClientUnaryCall,
  limits: CallLimits,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const { signal } = limits;
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const options = { deadline: limits.clock.wallClock() + limits.deadlineMs };
    const onAbort = (): void => {
      call.cancel();
      reject(signal?.reason as Error);
    };
    const call = start(new Metadata(), options, (error, response) => {
      signal?.removeEventListener('abort', onAbort);
      if (error === null) resolve(response);
      else reject(error);
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
