import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

function start(...args: string[]): ChildProcess {
  const file = fileURLToPath(new URL('./watchdog-child.ts', import.meta.url));
  return spawn(process.execPath, ['--import', 'tsx', file, ...args]);
}

async function ended(
  child: ChildProcess,
): Promise<{ code: unknown; signal: unknown; said: string }> {
  let said = '';
  child.stderr?.on('data', (chunk) => (said += String(chunk)));
  const [code, signal] = (await once(child, 'close')) as [unknown, unknown];
  return { code, signal, said };
}

describe.skipIf(process.platform === 'win32')('the stall watchdog', () => {
  it('ends a process whose event loop stands still, and says so', async () => {
    const { signal, said } = await ended(start('spin'));
    expect(signal).toBe('SIGKILL');
    expect(JSON.parse(said)).toMatchObject({ level: 'fatal', event: 'stalled' });
  });

  it('ends a process past its memory', async () => {
    const { signal, said } = await ended(start('work', '1000000'));
    expect(signal).toBe('SIGKILL');
    expect(JSON.parse(said)).toMatchObject({ event: 'memory' });
  });

  it('does not take a stopped process for a stalled one', async () => {
    const child = start('work');
    const end = ended(child);
    if (child.stdout !== null) await once(child.stdout, 'data');
    child.kill('SIGSTOP');
    // Longer than a stall may last: this time is what is tested.
    await new Promise((resolve) => setTimeout(resolve, 800));
    child.kill('SIGCONT');
    child.stdin?.write('go\n');
    expect(await end).toMatchObject({ code: 5, said: '' });
  });

  it('ends with its stop, and keeps no process alive', async () => {
    expect(await ended(start('stop-then-spin'))).toMatchObject({ code: 0, said: '' });
    expect(await ended(start('idle'))).toMatchObject({ code: 0, said: '' });
  });
});
