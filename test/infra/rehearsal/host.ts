import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must, run, type Outcome } from '../../support/command.ts';
import { RESOLVER_ADDRESS } from './resolver.ts';

/** How long a host may take to stop, as EC2 is patient for a while. */
const STOP_MS = 90_000;
const BOOT_POLL_MS = 200;
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** An instance as a computer: a container with systemd as its first process, in its own network. */
export class Host {
  readonly name: string;
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #leaving = new AbortController();

  constructor(name: string, folder: string, process: ChildProcess) {
    this.name = name;
    this.#folder = folder;
    this.#process = process;
    this.#ended = once(process, 'exit');
  }

  /**
   * Boots the image on a layer of its own in `folder`. `endpoint` is where programs on it find AWS:
   * the one thing that a real instance does not need to be told.
   */
  static async boot(
    name: string,
    image: string,
    folder: string,
    namespace: string,
    endpoint: string,
  ): Promise<Host> {
    const [upper, work, root] = ['upper', 'work', 'root'].map((one) => join(folder, one));
    for (const one of [upper, work, root]) await mkdir(one ?? '', { recursive: true });
    const layers = `lowerdir=${image},upperdir=${upper ?? ''},workdir=${work ?? ''}`;
    await must('mount', ['-t', 'overlay', 'overlay', '-o', layers, root ?? '']);
    const within = join(root ?? '', 'etc');
    await writeFile(join(within, 'resolv.conf'), `nameserver ${RESOLVER_ADDRESS}\n`);
    await writeFile(join(within, 'hostname'), `${name}\n`);
    await mkdir(join(within, 'systemd/system.conf.d'), { recursive: true });
    await writeFile(
      join(within, 'systemd/system.conf.d/rehearsal.conf'),
      `[Manager]\nDefaultEnvironment=AWS_ENDPOINT_URL=${endpoint}\n`,
    );
    const child = spawn(
      'systemd-nspawn',
      [
        ...['--quiet', '--boot', `--directory=${root ?? ''}`, `--machine=${name}`],
        ...[`--network-namespace-path=/run/netns/${namespace}`, '--resolv-conf=off'],
        ...['--register=no', '--keep-unit', '--console=pipe', '--link-journal=no'],
        `--bind-ro=${process.execPath}:/opt/stand-in/node`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const log = createWriteStream(join(folder, 'console.log'));
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    return new Host(name, folder, child);
  }

  /** Runs a script as root on it, once it has booted far enough. */
  async run(script: string, input = ''): Promise<Outcome> {
    const pid = await this.#firstProcess();
    if (pid === undefined) return { code: -1, stdout: '', stderr: `${this.name} is not there` };
    const enter = ['--target', String(pid), '--mount', '--uts', '--ipc', '--net', '--pid'];
    const args = [...enter, 'env', '-i', PATH, '/bin/sh', '-c', script];
    const options = { input, signal: this.#leaving.signal, killSignal: 'SIGKILL' } as const;
    return run('nsenter', args, options).catch((error: unknown) => ({
      ...{ code: -1, stdout: '', stderr: String(error) },
    }));
  }

  /** Shuts it down as EC2 does: services get their time. Whether that was enough for them. */
  async stop(): Promise<boolean> {
    let inTime = true;
    // Else nsenter, whose child a system that goes down stops first, would stop itself with it.
    this.#leaving.abort();
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => {
      inTime = false;
      this.#process.kill('SIGKILL');
    }, STOP_MS);
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.#ended;
    clearTimeout(timer);
    await run('umount', ['--lazy', join(this.#folder, 'root')]);
    return inTime;
  }

  /** What it wrote to its console. */
  async console(): Promise<string> {
    return readFile(join(this.#folder, 'console.log'), 'utf8').catch(() => '');
  }

  /** The process number of its systemd, as this side has it, once that takes requests. */
  async #firstProcess(): Promise<number | undefined> {
    const { pid } = this.#process;
    while (this.#process.exitCode === null && this.#process.signalCode === null) {
      const children = await readFile(`/proc/${pid ?? 0}/task/${pid ?? 0}/children`, 'utf8').catch(
        () => '',
      );
      const first = Number(children.trim().split(' ')[0]);
      if (first > 0) {
        const { code } = await run('test', ['-S', `/proc/${first}/root/run/systemd/private`]);
        if (code === 0) return first;
      }
      await new Promise((resolve) => setTimeout(resolve, BOOT_POLL_MS));
    }
    return undefined;
  }
}
