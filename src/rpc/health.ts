import { makeClientConstructor, type Server } from '@grpc/grpc-js';
import { HealthImplementation, service } from 'grpc-health-check';
import type { Address } from '../base/address.ts';
import { clientFor } from './cluster-channel.ts';
import type { ClusterTls } from './tls-files.ts';
import { type CallLimits, unary } from './unary-call.ts';

/** What a server says of itself by grpc.health.v1 (https://grpc.io/docs/guides/health-checking). */
export type Health = 'serving' | 'not-serving';

/** The server's side: answers for the whole server, the service named "". */
export class HealthService {
  readonly #implementation = new HealthImplementation({ '': 'NOT_SERVING' });

  addTo(server: Server): void {
    this.#implementation.addToServer(server);
  }

  set(health: Health): void {
    this.#implementation.setStatus('', health === 'serving' ? 'SERVING' : 'NOT_SERVING');
  }
}

const HealthStub = makeClientConstructor(service, 'grpc.health.v1.Health');

/** The asking side, on one connection to a rendezvous server's cluster plane. */
export class HealthClient {
  readonly #stub: InstanceType<typeof HealthStub>;

  constructor(address: Address, tls: ClusterTls) {
    this.#stub = clientFor(HealthStub, address, tls, 'rendezvous', {
      // Checks are their own keep-alive. A ping that fails would make a refusal of what is silence.
      'grpc.keepalive_time_ms': -1,
    });
  }

  /** @throws the gRPC ServiceError where there is no answer. */
  async check(limits: CallLimits): Promise<Health> {
    const answer = await unary<{ status?: unknown }>((metadata, options, done) => {
      const check = service['Check'];
      if (check === undefined) throw new Error('grpc-health-check has no Check method');
      return this.#stub.makeUnaryRequest(
        check.path,
        check.requestSerialize,
        check.responseDeserialize as (bytes: Buffer) => { status?: unknown },
        { service: '' },
        metadata,
        options,
        (error, value) => done(error, value ?? {}),
      );
    }, limits);
    return answer.status === 'SERVING' ? 'serving' : 'not-serving';
  }

  close(): void {
    this.#stub.close();
  }
}
