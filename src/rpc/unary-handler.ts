import type { handleUnaryCall, ServerUnaryCall } from '@grpc/grpc-js';
import { statusOf } from './call-status.ts';

/**
 * A unary method's handler from an async function. What it throws becomes the call's status: a
 * ChattyError with its own words, anything else `INTERNAL` without any, and is given to `onFault`.
 */
export function unaryHandler<Request, Response>(
  answer: (call: ServerUnaryCall<Request, Response>) => Response | Promise<Response>,
  onFault: (error: unknown) => void,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const run = async (): Promise<Response> => answer(call);
    run().then(
      (response) => callback(null, response),
      (error: unknown) => {
        onFault(error);
        callback(statusOf(error));
      },
    );
  };
}
