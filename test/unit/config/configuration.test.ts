import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChattyError } from '../../../src/base/errors.ts';
import {
  readConfiguration,
  type Sources,
  unknownVariables,
} from '../../../src/config/configuration.ts';
import { readSettingsFile } from '../../../src/config/file.ts';
import { duration, flag, hostPort, path } from '../../../src/config/format.ts';
import {
  loadBalancerSchema,
  localSchema,
  peerSchema,
  rendezvousSchema,
} from '../../../src/config/schemas.ts';
import { list, optional, required, withDefault } from '../../../src/config/setting.ts';

const schema = {
  listen: list(hostPort, [{ host: '0.0.0.0', port: 1 }], 'where'),
  idleAfter: withDefault(duration, 5_000, 'when'),
  quick: withDefault(flag, false, 'whether'),
  password: optional(path('FILE'), 'secret', { secret: true }),
  tls: required(path('DIR'), 'keys'),
  config: optional(path('FILE'), 'file'),
};

const read = (sources: Partial<Sources> & { file?: unknown }) =>
  readConfiguration(schema, {
    args: sources.file === undefined ? {} : { config: ['settings.json'] },
    env: {},
    readFile: () => Promise.resolve(sources.file),
    ...sources,
  });

async function refusal(sources: Parameters<typeof read>[0]): Promise<ChattyError> {
  try {
    await read(sources);
  } catch (error) {
    return error as ChattyError;
  }
  throw new Error('it was accepted');
}

describe('the configuration', () => {
  it('is made of the defaults where nothing is said', async () => {
    const { values, missing } = await read({});
    expect(values).toEqual({
      listen: [{ host: '0.0.0.0', port: 1 }],
      idleAfter: 5_000,
      quick: false,
    });
    expect(missing).toEqual(['--tls']);
  });

  it('prefers arguments to the environment, that to the file, and that to defaults', async () => {
    const file = { idleAfter: '1s', listen: ['file:1'], tls: 'file' };
    const env = { CHATTY_LISTEN: 'env:1, [::1]:2', CHATTY_TLS: 'env', CHATTY_CONFIG: 'x.json' };
    const { values, missing } = await readConfiguration(schema, {
      args: { tls: ['args'] },
      env,
      readFile: (name) => Promise.resolve(name === 'x.json' ? file : {}),
    });
    expect(values).toMatchObject({
      idleAfter: 1_000,
      listen: [
        { host: 'env', port: 1 },
        { host: '::1', port: 2 },
      ],
      tls: 'args',
    });
    expect(missing).toEqual([]);
  });

  it('takes an empty variable for none', async () => {
    expect((await read({ env: { CHATTY_IDLE_AFTER: '' } })).values.idleAfter).toBe(5_000);
  });

  it.each([
    ['a switch', { quick: true }, { quick: true }],
    ['a list of one without brackets', { listen: 'a:1' }, { listen: [{ host: 'a', port: 1 }] }],
    ['null for the default', { idleAfter: null }, { idleAfter: 5_000 }],
  ])('reads from a file %s', async (_what, file, expected) => {
    expect((await read({ file })).values).toMatchObject(expected);
  });

  it.each([
    [
      'an argument',
      { args: { idleAfter: ['5'] } },
      64,
      '--idle-after must be a length of time like 250ms, 5s, 2m or 1h, not "5"',
    ],
    [
      'a variable',
      { env: { CHATTY_IDLE_AFTER: 'soon' } },
      78,
      'the environment variable CHATTY_IDLE_AFTER must be a length of time',
    ],
    ['one of a list', { env: { CHATTY_LISTEN: 'a:1,b' } }, 78, 'CHATTY_LISTEN must be HOST:PORT'],
    ['a key', { file: { idleAfter: 5 } }, 78, 'the key "idleAfter" in settings.json must be'],
    ['a type', { file: { tls: {} } }, 78, '"tls" in settings.json must be the path of a directory'],
    ['a list for one', { file: { tls: ['a'] } }, 78, '"tls" in settings.json must be the path'],
    ['no object', { file: [] }, 78, 'the file settings.json must hold one JSON object'],
    [
      'an unknown key',
      { file: { lisen: 'a:1' } },
      78,
      'the key "lisen" in settings.json is unknown; there are listen, idleAfter, quick',
    ],
    ['a file in a file', { file: { config: 'x' } }, 78, 'the key "config" in settings.json'],
    ['the prototype', { file: JSON.parse('{"__proto__":1}') as unknown }, 78, '"__proto__"'],
  ])('refuses %s by name, and says what is allowed', async (_what, sources, exit, message) => {
    const error = await refusal(sources);
    expect(error.exitCode).toBe(exit);
    expect(error.message).toContain(message);
  });

  it('checks the arguments before the file', async () => {
    expect((await refusal({ args: { idleAfter: ['x'], config: ['no'] } })).exitCode).toBe(64);
  });

  it('never shows a secret, neither printed nor refused', async () => {
    const { printable } = await read({ env: { CHATTY_PASSWORD: 'hunter2' } });
    expect(printable).toEqual({
      listen: ['0.0.0.0:1'],
      idleAfter: '5s',
      quick: false,
      password: '(hidden)',
      tls: null,
    });
    const error = await refusal({ env: { CHATTY_PASSWORD: 'hunter2\0' } });
    expect(error.message).not.toContain('hunter2');
  });

  it('prints what it would read back', async () => {
    const args = { listen: ['[::1]:5'], idleAfter: ['1500ms'], tls: ['keys'] };
    const first = await read({ args });
    const second = await read({ file: first.printable });
    expect(second).toMatchObject({ values: first.values });
  });
});

describe('variables that look like Chatty’s', () => {
  const schemas = [loadBalancerSchema, rendezvousSchema, peerSchema, localSchema];

  it('and are none are found, those of other programs and of the infrastructure are not', () => {
    const env = {
      CHATTY_LISTENN: 'x',
      CHATTY_CLUSTER_LISTEN: 'x',
      CHATTY_STATE: 'x',
      CHATTY_LOADBALANCER: 'x',
      CHATTY_INFRA_REGION: 'x',
      PATH: 'x',
    };
    expect(unknownVariables(schemas, env)).toEqual(['CHATTY_LISTENN']);
  });
});

describe('a file of settings', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'chatty-config-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  it.each([
    ['is missing', undefined, 'there is no such file'],
    ['is not JSON', '{ "listen": ', 'are not JSON'],
  ])('that %s is refused by name', async (_what, content, message) => {
    const name = join(directory, 'settings.json');
    if (content !== undefined) await writeFile(name, content);
    const error = await readSettingsFile(name).catch((reason: unknown) => reason as ChattyError);
    expect(error).toMatchObject({ code: 'CHATTY_CONFIG', exitCode: 78 });
    expect((error as ChattyError).message).toContain(name);
    expect((error as ChattyError).message).toContain(message);
  });
});
