import { EventEmitter } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ChattyError } from '../../../src/base/errors.ts';
import { type Context, defineCommand, type Io, runProgram } from '../../../src/cli/program.ts';
import { flag, path } from '../../../src/config/format.ts';
import { loadBalancerSchema, plainSchema } from '../../../src/config/schemas.ts';
import { optional, required, withDefault } from '../../../src/config/setting.ts';

class FakeIo extends EventEmitter implements Io {
  readonly stdin = new PassThrough();
  readonly stdout = new Collected();
  readonly stderr = new Collected();
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

class Collected extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

interface Ran {
  command: string;
  values: unknown;
  positionals: readonly string[];
}

let io: FakeIo;
let ran: Ran[];
let act: (context: Context) => Promise<number>;
let directory: string;
beforeEach(async () => {
  io = new FakeIo();
  ran = [];
  act = () => Promise.resolve(0);
  directory = await mkdtemp(join(tmpdir(), 'chatty-program-'));
});
afterEach(() => rm(directory, { recursive: true }));

const recording =
  (command: string) => (values: unknown, positionals: readonly string[], context: Context) => {
    ran.push({ command, values, positionals });
    return act(context);
  };

const invite = defineCommand({
  name: 'invite',
  summary: 'Invites.',
  schema: { print: withDefault(flag, false, 'only print'), ...plainSchema },
  positionals: '<NAME> <FRIEND>',
  examples: ['talk invite alice bob'],
  run: recording('invite'),
});
const program = defineCommand({
  name: 'talk',
  summary: 'Talks.',
  schema: {
    ...plainSchema,
    tls: required(path('DIR'), 'keys'),
    friend: optional(path('FILE'), 'somebody', { alias: 'fr' }),
    relay: withDefault(flag, true, 'not over a relay'),
  },
  positionals: '<NAME> [FRIEND]',
  examples: ['talk alice bob'],
  subcommands: [invite],
  run: recording('talk'),
});

const run = (argv: string, env: Record<string, string> = {}): Promise<number> =>
  runProgram(program, argv.split(' ').filter(Boolean), env, io);

describe('a command line', () => {
  it('gives a command its settings and arguments', async () => {
    expect(await run('alice --tls keys --fr x bob --no-relay')).toBe(0);
    expect(ran).toMatchObject([
      {
        command: 'talk',
        values: { tls: 'keys', friend: 'x', relay: false, logLevel: 'warn' },
        positionals: ['alice', 'bob'],
      },
    ]);
    expect(io.stderr.text).toBe('');
  });

  it.each([
    ['--bogus', "unknown option '--bogus'"],
    ['--tlss x', '(Did you mean --tls?)'],
    ['', "missing required argument 'NAME'"],
    ['a b c', 'too many arguments'],
    ['a --tls', 'argument missing'],
    ['a --log-level loud', '--log-level must be one of debug, info, warn, error, silent'],
    ['a', '--tls is missing'],
  ])('%j is wrong usage, which is said with what to try', async (argv, message) => {
    expect(await run(argv)).toBe(64);
    expect(io.stderr.text).toContain(`talk: `);
    expect(io.stderr.text).toContain(message);
    expect(io.stderr.text).toContain('talk --help');
    expect(ran).toEqual([]);
  });

  it.each([
    ['invite alice bob', 'invite', ['alice', 'bob']],
    ['--print invite alice bob', 'invite', ['alice', 'bob']],
    ['--tls invite alice', 'talk', ['alice']],
    ['--tls keys -- invite bob', 'talk', ['invite', 'bob']],
    ['--tls keys alice invite', 'talk', ['alice', 'invite']],
    ['invite -- invite invite', 'invite', ['invite', 'invite']],
  ])('%j runs %s', async (argv, command, positionals) => {
    expect(await run(argv)).toBe(0);
    expect(ran).toMatchObject([{ command, positionals }]);
  });

  it('wants every required option only after the file has been read', async () => {
    const file = join(directory, 'settings.json');
    expect(await run(`a --config ${file}`)).toBe(78);
    expect(io.stderr.text).toContain(`${file}: there is no such file`);
    await writeFile(file, '{"tls": "keys"}');
    expect(await run(`a --config ${file}`)).toBe(0);
  });
});

describe('--help', () => {
  it('lists every option with its environment variable, examples and subcommands', async () => {
    expect(await run('--help')).toBe(0);
    for (const [option, variable] of [
      ['--tls <DIR>', 'CHATTY_TLS'],
      ['--fr, --friend <FILE>', 'CHATTY_FRIEND'],
      ['--no-relay', 'CHATTY_RELAY'],
      ['--config <FILE>', 'CHATTY_CONFIG'],
      ['--log-level', 'CHATTY_LOG_LEVEL'],
      ['--log-file', 'CHATTY_LOG_FILE'],
    ] as const) {
      expect(io.stdout.text).toContain(option);
      expect(io.stdout.text).toContain(variable);
    }
    expect(io.stdout.text).toContain('talk alice bob');
    expect(io.stdout.text).toContain('invite <NAME> <FRIEND>');
    expect(io.stdout.text).toContain('--print-config');
  });

  it.each(['invite --help', 'help invite'])('%j is that of the subcommand', async (argv) => {
    expect(await run(argv)).toBe(0);
    expect(io.stdout.text).toContain('Usage: talk invite');
    expect(io.stdout.text).toContain('CHATTY_PRINT');
  });
});

describe('what a program shows of itself', () => {
  it('its version', async () => {
    expect(await run('--version')).toBe(0);
    expect(io.stdout.text).toMatch(/^talk \d+\.\d+\.\d+\n$/);
  });

  it('its settings, also while some are missing', async () => {
    expect(await run('a --print-config --no-relay', { CHATTY_LOG_LEVEL: 'debug' })).toBe(0);
    expect(JSON.parse(io.stdout.text)).toEqual({
      logLevel: 'debug',
      logFile: null,
      tls: null,
      friend: null,
      relay: false,
    });
    expect(ran).toEqual([]);
  });

  it('a warning about a variable that is none of Chatty’s, and goes on', async () => {
    expect(
      await run('a --tls k', {
        CHATTY_RELAI: 'true',
        CHATTY_INFRA_X: '1',
        CHATTY_PRINT: 'true',
      }),
    ).toBe(0);
    expect(io.stderr.text).toBe('talk: warning: there is no setting CHATTY_RELAI\n');
  });
});

describe('what goes wrong', () => {
  it('is a sentence and a hint, without control characters, and its exit code', async () => {
    act = () => {
      throw new ChattyError('CHATTY_NAME_TAKEN', 'taken \u001b[31m', { hint: 'Another.' });
    };
    expect(await run('a --tls k')).toBe(77);
    expect(io.stderr.text).toBe('talk: taken \ufffd[31m\n  Another.\n');
  });

  it('by a bug of ours says so, and exits 1', async () => {
    act = () => Promise.reject(new TypeError('x is undefined'));
    expect(await run('a --tls k')).toBe(1);
    expect(io.stderr.text).toContain('this is a bug in Chatty');
    expect(io.stderr.text).toContain('x is undefined');
  });
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'])('%s is told to the command, the second ends it', async (name) => {
    act = async ({ signal }) => {
      io.emit(name, name);
      expect(signal.reason).toMatchObject({ code: 'CHATTY_INTERRUPTED' });
      expect(io.exits).toEqual([]);
      io.emit(name, name);
      expect(io.exits).toEqual([130]);
      return Promise.resolve(0);
    };
    expect(await run('a --tls k')).toBe(0);
    expect(io.listenerCount(name)).toBe(0);
  });
});

describe('the log', () => {
  const write = ({ logger }: Context): Promise<number> => {
    logger.debug('hidden');
    logger.warn('low tide', { depth: 3n, at: ['a'] });
    return Promise.resolve(0);
  };

  it('goes to stderr as JSON lines from its level on', async () => {
    act = write;
    await run('a --tls k');
    const [line, ...rest] = io.stderr.text.trimEnd().split('\n');
    expect(rest).toEqual([]);
    expect(JSON.parse(line ?? '')).toEqual({
      level: 'warn',
      time: expect.any(String) as string,
      event: 'low tide',
      depth: '3',
      at: ['a'],
    });
  });

  it('is appended to the file named', async () => {
    act = write;
    const file = join(directory, 'log');
    await writeFile(file, 'before\n');
    await run(`a --tls k --log-file ${file}`);
    expect(await readFile(file, 'utf8')).toMatch(/^before\n\{.*"low tide".*\}\n$/);
    expect(io.stderr.text).toBe('');
  });

  it('that cannot be written is an error of configuration', async () => {
    expect(await run(`a --tls k --log-file ${directory}/no/log`)).toBe(78);
    expect(io.stderr.text).toContain(`cannot write the log to ${directory}/no/log`);
  });
});

describe('a daemon’s settings', () => {
  it('have the ports of the design as defaults', () => {
    expect(loadBalancerSchema.listen.default).toEqual([{ host: '0.0.0.0', port: 50050 }]);
    expect(loadBalancerSchema.clusterListen.default).toEqual([{ host: '0.0.0.0', port: 50051 }]);
  });
});
