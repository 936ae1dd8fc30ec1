import { type handleUnaryCall, Server, ServerCredentials } from '@grpc/grpc-js';
import type { ClusterTls } from '../../../src/rpc/tls-files.ts';
import { serveTasks } from '../worker.ts';

/** The process of a gRPC server that answers one call with what it was asked: the bare floor. */
const pass = (bytes: Buffer): Buffer => bytes;
const echo: handleUnaryCall<Buffer, Buffer> = (call, answer) => {
  answer(null, call.request);
};

const tasks = {
  /** @returns the port. */
  serve: async ({ caPem, identity }: ClusterTls): Promise<number> => {
    const server = new Server();
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
    const credentials = ServerCredentials.createSsl(Buffer.from(caPem), [key], true);
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
