import { ExitCode } from '../base/errors.ts';
import { localSchema, plainSchema } from '../config/schemas.ts';
import { type Context, defineCommand, type Environment, type Io, runProgram } from './program.ts';

const pki = defineCommand({
  name: 'pki',
  summary: 'Makes the CA of a new cluster and a certificate for each role in DIR, for --tls.',
  schema: plainSchema,
  positionals: '<DIR>',
  examples: ['chatty-local pki keys'],
  run: async (_values, [directory = ''], { io }) => {
    const { writeClusterPki } = await import('../rpc/cluster-pki.ts');
    await writeClusterPki(directory);
    io.stdout.write(
      `Made a cluster's keys in ${directory}. Daemons need ca.pem and their own role's two files;\n` +
        'keep ca-key.pem where no daemon runs.\n',
    );
    return ExitCode.done;
  },
});

const demo = defineCommand({
  name: 'demo',
  summary:
    'Starts a cluster and two peers on this computer, and shows how they find each other and talk.',
  schema: localSchema,
  examples: ['chatty-local demo'],
  run: async (values, _positionals, { io, signal }) => {
    const [{ runDemo }, { systemClock }] = await Promise.all([
      import('./demo.ts'),
      import('../base/clock.ts'),
    ]);
    const good = await runDemo({
      clock: systemClock,
      loadBalancers: values.loadbalancers,
      rendezvousServers: values.servers,
      signal,
      print: (line) => io.stdout.write(`${line}\n`),
    });
    if (signal.aborted) return ExitCode.interrupted;
    return good ? ExitCode.done : ExitCode.noFriend;
  },
});

const program = defineCommand({
  name: 'chatty-local',
  summary:
    'Runs a whole cluster on this computer, on loopback and free ports, with a certificate ' +
    'authority made on the spot, until it is interrupted.',
  schema: localSchema,
  examples: ['chatty-local', 'chatty-local --servers 1 --loadbalancers 1 --json'],
  subcommands: [demo, pki],
  run: (values, _positionals, context) => runCluster(values, context),
});

/** Apart: TypeScript 6.0 leaves `.ts` in imports that stand in one function with `await using`. */
function loadCluster() {
  return Promise.all([import('./local-cluster.ts'), import('../base/clock.ts')]);
}

async function runCluster(
  values: {
    readonly loadbalancers: number;
    readonly servers: number;
    readonly json: boolean;
  },
  { io, signal }: Context,
): Promise<number> {
  const [{ LocalCluster }, { systemClock }] = await loadCluster();
  await using cluster = await LocalCluster.start({
    loadBalancers: values.loadbalancers,
    rendezvousServers: values.servers,
    clock: systemClock,
    signal,
    onDeath: ({ role, peers, pid }, how) => {
      io.stderr.write(`chatty-local: the ${role} at ${peers} (process ${pid}) ended ${how}\n`);
    },
  });
  const { loadBalancers, rendezvousServers, members } = cluster;
  const command = `bin/chatty alice bob --lb ${loadBalancers[0] ?? ''}`;
  if (values.json) {
    const processes = members;
    const ready = { event: 'ready', loadBalancers, rendezvousServers, processes, command };
    io.stdout.write(`${JSON.stringify(ready)}\n`);
  } else {
    const lines = [
      'A cluster runs on this computer:',
      ...members.map(({ role, peers, pid }) => `  ${role.padEnd(12)} ${peers} (process ${pid})`),
      '',
      'Chat with yourself in two other terminals:',
      `  ${command}`,
      `  bin/chatty bob alice --lb ${loadBalancers.at(-1) ?? ''}`,
      '',
      'Ctrl-C ends the cluster.',
    ];
    io.stdout.write(`${lines.join('\n')}\n`);
  }
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
  return ExitCode.done;
}

/** The command `chatty-local`. @returns its exit code. */
export function main(argv: readonly string[], env: Environment, io: Io): Promise<number> {
  return runProgram(program, argv, env, io);
}
