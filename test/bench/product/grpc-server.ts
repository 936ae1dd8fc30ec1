import { type handleUnaryCall, Server, ServerCredentials } from '@grpc/grpc-js';
import type { ClusterTls } from '../../../src/rpc/tls-files.ts';
import { cpuMs, serveTasks } from '../worker.ts';

/** The process of a gRPC server of one call, whose answer costs nothing to make: the bare floor. */
const pass = (bytes: Buffer): Buffer => bytes;

interface Service {
  readonly tls: ClusterTls;
  /** Whether callers prove who they are. */
  readonly mutual: boolean;
  /** What it answers, in base64; absent: what it was asked. */
  readonly answer?: string;
}

const tasks = {
  cpuMs: () => cpuMs(),

  /** @returns the port. */
  serve: async ({ tls: { caPem, identity }, mutual, answer }: Service): Promise<number> => {
    const fixed = answer === undefined ? undefined : Buffer.from(answer, 'base64');
    const echo: handleUnaryCall<Buffer, Buffer> = (call, reply) => {
      reply(null, fixed ?? call.request);
    };
    // As our own servers are.
    const server = new Server({ 'grpc.enable_channelz': 0 });
    server.addService(
      {
        echo: {
          path: '/bench/echo',
          requestStream: false,
          responseStream: false,
          requestSerialize: pass,
          requestDeserialize: pass,
          responseSerialize: pass,
          responseDeserialize: pass,
        },
      },
      { echo },
    );
    const certChain = Buffer.from(identity.certPem);
    const key = { private_key: Buffer.from(identity.keyPem), cert_chain: certChain };
    const credentials = ServerCredentials.createSsl(Buffer.from(caPem), [key], mutual);
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  },
};

export type GrpcTasks = typeof tasks;

serveTasks(tasks);
