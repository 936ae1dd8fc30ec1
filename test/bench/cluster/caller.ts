import { Client, credentials } from '@grpc/grpc-js';
import { LOAD_BALANCER_NAME } from '../../../src/base/role-names.ts';
import { serveTasks } from '../worker.ts';

/** The process of those who ask: bare grpc-js, which takes answers as they come. */
const CHANNELS = 8;
const CALLS_A_CHANNEL = 8;

interface Question {
  readonly port: number;
  readonly caPem: string;
  readonly path: string;
  /** In base64. */
  readonly request: string;
}

const pass = (bytes: Buffer): Buffer => bytes;

function clientOf({ port, caPem }: Question): Client {
  return new Client(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(caPem)), {
    'grpc.ssl_target_name_override': LOAD_BALANCER_NAME,
    'grpc.use_local_subchannel_pool': 1,
  });
}

function call(client: Client, path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, pass, pass, request, (error, answer) => {
      if (error !== null) reject(error);
      else if (answer === undefined) reject(new Error('no answer'));
      else resolve(answer);
    });
  });
}

const tasks = {
  /** @returns the answer, in base64. */
  ask: async (question: Question): Promise<string> => {
    const client = clientOf(question);
    const answer = await call(client, question.path, Buffer.from(question.request, 'base64'));
    client.close();
    return answer.toString('base64');
  },

  /** Asks as fast as it is answered. @returns how many answers came in how long. */
  askFor: async ({ forMs, ...question }: Question & { forMs: number }) => {
    const clients = Array.from({ length: CHANNELS }, () => clientOf(question));
    const request = Buffer.from(question.request, 'base64');
    await Promise.all(clients.map((client) => call(client, question.path, request)));
    const startedAt = performance.now();
    let answers = 0;
    const keepAsking = async (client: Client): Promise<void> => {
      while (performance.now() - startedAt < forMs) {
        await call(client, question.path, request);
        answers += 1;
      }
    };
    const loops = clients.flatMap((client) =>
      Array.from({ length: CALLS_A_CHANNEL }, () => keepAsking(client)),
    );
    await Promise.all(loops);
    const tookMs = performance.now() - startedAt;
    for (const client of clients) client.close();
    return { answers, tookMs };
  },
};

export type CallerTasks = typeof tasks;

serveTasks(tasks);
