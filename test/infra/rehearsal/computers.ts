import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FakeAws } from '../fake-aws/fake-aws.ts';
import type { Instance, Machines } from '../fake-aws/ec2-instances.ts';
import { Host } from './host.ts';
import type { Internet } from './internet.ts';

const HEALTH_POLL_MS = 1_000;
/** What the fake refuses this often, it will never give. */
const PATIENCE = 3;

/** Where what was recorded becomes real: every instance of the fake is a host that boots. */
export class Computers implements Machines {
  readonly #internet: Internet;
  readonly #image: Promise<string>;
  readonly #folder: string;
  readonly #endpoint: string;
  readonly #hosts = new Map<string, Promise<Host>>();
  #aws: FakeAws | undefined;
  #enforcing: Promise<void> = Promise.resolve();

  constructor(internet: Internet, image: Promise<string>, folder: string, endpoint: string) {
    this.#internet = internet;
    this.#image = image;
    this.#folder = folder;
    this.#endpoint = endpoint;
  }

  /** Tells where recorded rules and addresses are; to be called first. */
  attach(aws: FakeAws): void {
    this.#aws = aws;
  }

  started(instance: Instance): void {
    const host = this.#boot(instance);
    host.catch((error: unknown) => {
      this.#aws?.note('boot failed', instance.instanceId, String(error));
    });
    this.#hosts.set(instance.instanceId, host);
  }

  async stopped(instance: Instance): Promise<void> {
    const host = await this.#hosts.get(instance.instanceId)?.catch(() => undefined);
    this.#hosts.delete(instance.instanceId);
    const inTime = await host?.stop();
    await this.#internet.leave(instance);
    const last = (await host?.console())?.trim().split('\n').slice(-5).join('\n');
    this.#aws?.note(inTime === false ? 'killed' : 'stopped', instance.instanceId, last);
  }

  addressesChanged(): void {
    void this.enforce();
  }

  /**
   * Runs the gate's script. Gives up as soon as the host has failed to install itself, which a real
   * gate would find out by its time limit only.
   */
  async run(instance: Instance, script: string): Promise<{ code: number; output: string }> {
    const host = await this.host(instance).catch((error: unknown) => String(error));
    if (typeof host === 'string') return { code: -1, output: host };
    const done = new AbortController();
    const gate = host
      .run(script)
      .then(({ code, stdout, stderr }) => ({ code, output: `${stdout}${stderr}` }));
    const failed = this.#failure(host, done.signal);
    const outcome = await Promise.race([gate, failed]);
    done.abort();
    return outcome;
  }

  async host(instance: Instance): Promise<Host> {
    const host = this.#hosts.get(instance.instanceId);
    if (host === undefined) throw new Error(`${instance.instanceId} is not there`);
    return host;
  }

  /** Makes the network obey what is recorded now. */
  enforce(): Promise<void> {
    const enforce = async (): Promise<void> => {
      if (this.#aws === undefined) return;
      const { instances, groups } = this.#aws.ec2;
      const publicAddressOf = instances.publicAddressOf.bind(instances);
      await this.#internet.enforce(instances.living(), groups.rules.all(), publicAddressOf);
    };
    this.#enforcing = this.#enforcing.then(enforce, enforce);
    return this.#enforcing;
  }

  async stopAll(): Promise<void> {
    await Promise.allSettled([...this.#hosts.values()].map(async (host) => (await host).stop()));
    this.#hosts.clear();
  }

  async #boot(instance: Instance): Promise<Host> {
    const namespace = await this.#internet.join(instance);
    await this.enforce();
    const folder = join(this.#folder, instance.instanceId);
    await mkdir(folder, { recursive: true });
    const host = await Host.boot(
      instance.instanceId,
      await this.#image,
      folder,
      namespace,
      this.#endpoint,
    );
    this.#aws?.note('booting', instance.instanceId);
    return host;
  }

  /**
   * Resolves once cloud-init has ended with an error, or the host asks again and again for what AWS
   * does not give it; never otherwise.
   */
  async #failure(host: Host, signal: AbortSignal): Promise<{ code: number; output: string }> {
    while (!signal.aborted) {
      const refused = this.#aws?.events.filter(
        ({ event, subject }) => event === 'refused' && subject === host.name,
      );
      if (refused !== undefined && refused.length >= PATIENCE) {
        return {
          code: -1,
          output: `it does not get what it needs: ${refused.at(-1)?.detail ?? ''}`,
        };
      }
      const { code, stdout } = await host.run(FAILED);
      if (code === 9) return { code, output: `the user data failed:\n${stdout}` };
      await new Promise((resolve) => setTimeout(resolve, HEALTH_POLL_MS));
    }
    return { code: -1, output: '' };
  }
}

/** Ends with 9, and what was said last, where cloud-init is done and had errors. */
const FAILED = `
result=/run/cloud-init/result.json
test -e $result || exit 0
grep -q '"errors": \\[\\]' $result && exit 0
tail -n 12 /var/log/cloud-init-output.log
exit 9
`;
