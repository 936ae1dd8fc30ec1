import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DefaultPort } from '../../src/base/default-ports.ts';
import { resources, synthesize } from './synthesized.ts';
import { describeWith } from './tools.ts';

const LIMIT_BYTES = 4096;
const folder = mkdtempSync(join(tmpdir(), 'chatty-user-data-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The user data of each host as AWS gets it: with what Terraform fills in, as long as it can be. */
function userData(context: object = {}): Map<string, string> {
  const hosts = resources(synthesize(context), 'aws_instance').map(([name, host]) => {
    const filled = String(host['user_data'])
      .replace(/(?<!\$)\$\{aws_s3_bucket[^}]*\}/g, 'a'.repeat(63))
      .replace(/(?<!\$)\$\{local\.artifact-sha256\}/g, '0'.repeat(64))
      .replace(/(?<!\$)\$\{local\.secrets[^}]*\}/g, '0'.repeat(8))
      .replace(/(?<!\$)\$\{aws_eip[^}]*\}/g, '255.255.255.255');
    return [name, filled.replaceAll('$${', '${').replaceAll('%%{', '%{')] as const;
  });
  return new Map(hosts);
}

/** A file that the user data writes. */
function written(text: string, path: string): string {
  const lines = text.split('\n');
  const start = lines.indexOf('  content: |', lines.indexOf(`- path: ${path}`)) + 1;
  const end = lines.findIndex((line, index) => index >= start && !line.startsWith('   '));
  return `${lines
    .slice(start, end)
    .map((line) => line.slice(3))
    .join('\n')}\n`;
}

const all = [...userData()];
const [loadBalancer, rendezvous] = ['loadbalancer-1-host', 'rendezvous-1-host'].map(
  (name) => userData().get(name) ?? '',
) as [string, string];
const SCRIPTS = ['/usr/local/sbin/chatty-install', '/usr/local/sbin/chatty-ready'];
const UNIT = '/etc/systemd/system/chatty.service';

function save(name: string, content: string): string {
  const file = join(folder, name);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, content);
  return file;
}

describe('the user data', () => {
  it.each(all)('of %s is under 4 KB, with the longest names too', (name, text) => {
    const longest = userData({ name: 'n'.repeat(24), region: 'ap-southeast-1' }).get(name) ?? '';
    expect(text.length).toBeLessThan(LIMIT_BYTES);
    expect(Buffer.byteLength(longest)).toBeLessThan(LIMIT_BYTES);
  });

  it('has nothing left to fill in', () => {
    for (const [, text] of all) expect(text).not.toMatch(/@[A-Z_]+@|undefined|TfToken/);
  });

  it('tells a server the ports and every balancer, by one name', () => {
    const host = written(rendezvous, '/etc/chatty/host').split('\n');
    expect(host).toContain(`PORTS="${DefaultPort.serverPeers} 443"`);
    expect(host).toContain(`CHATTY_CLUSTER_LISTEN=0.0.0.0:${DefaultPort.cluster}`);
    expect(host).toContain(`CHATTY_LOADBALANCER=dns:///lb.chatty.internal:${DefaultPort.cluster}`);
    expect(host).toContain('PROCESSES=auto');
  });

  it('tells a balancer its Elastic IP, which it cannot know', () => {
    const host = written(loadBalancer, '/etc/chatty/host').split('\n');
    expect(host).toContain('ADDRESS=255.255.255.255');
    expect(host).toContain(`PORTS="${DefaultPort.balancerPeers}"`);
  });

  it('is the same for all servers, so that one more replaces none', () => {
    const few = userData();
    const many = userData({ rendezvousServers: 3, loadBalancers: 3 });
    for (const [name, text] of few) expect(many.get(name)).toBe(text);
    expect(many.get('rendezvous-3-host')).toBe(few.get('rendezvous-1-host'));
  });

  it('lets only servers, which use port 443, bind a low port', () => {
    expect(written(rendezvous, UNIT)).toContain('AmbientCapabilities=CAP_NET_BIND_SERVICE\n');
    expect(written(loadBalancer, UNIT)).toContain('AmbientCapabilities=\n');
  });
});

describeWith(['cloud-init'], 'cloud-init', () => {
  const accepts = (text: string) =>
    spawnSync('cloud-init', ['schema', '-c', save('user-data.yaml', text)], { encoding: 'utf8' });

  it('accepts the user data, and no key it does not know', () => {
    for (const text of [loadBalancer, rendezvous])
      expect(accepts(text)).toMatchObject({ status: 0 });
    const faulty = accepts(rendezvous.replace('  permissions:', '  permission:'));
    expect(faulty.status).not.toBe(0);
    expect(faulty.stdout + faulty.stderr).toContain('permission');
  });
});

describeWith(['shellcheck'], 'shellcheck', () => {
  const check = (script: string) =>
    spawnSync('shellcheck', ['--shell=sh', '--exclude=SC1091', save('script.sh', script)], {
      encoding: 'utf8',
    });

  it('finds nothing in the scripts, but a variable without quotes', () => {
    for (const text of [loadBalancer, rendezvous]) {
      for (const path of SCRIPTS) expect(check(written(text, path))).toMatchObject({ stdout: '' });
    }
    const faulty = written(rendezvous, SCRIPTS[0] as string).replace('"$KEYS/$1"', '$KEYS/$1');
    expect(check(faulty).stdout).toContain('SC2086');
  });
});

describeWith(['systemd-analyze'], 'systemd', () => {
  const verify = (unit: string) => {
    // It looks whether the program is there: here any other is.
    const here = unit.replaceAll('/usr/bin/node-22', '/bin/true');
    const file = save('chatty.service', here);
    return spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
  };
  const exposure = (unit: string) => {
    const file = save('chatty.service', unit);
    const args = ['security', '--offline=true', '--threshold=20', '--no-pager', file];
    return spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  };

  it.each([
    ['a load balancer', loadBalancer],
    ['a server', rendezvous],
  ])('finds nothing wrong with the unit of %s, and it exposed at 2.0 at most', (_role, text) => {
    const unit = written(text, UNIT);
    expect(verify(unit)).toMatchObject({ status: 0, stderr: '' });
    expect(exposure(unit)).toMatchObject({ status: 0 });
  });

  it('finds out a directive that does not exist, and a unit that may do too much', () => {
    const unit = written(rendezvous, UNIT);
    expect(verify(unit.replace('KillMode', 'KillMod')).stderr).toContain('KillMod');
    const open = unit.replace(/^(SystemCall|Restrict|Protect).*\n/gm, '');
    expect(exposure(open).status).not.toBe(0);
  });
});

// The shell's own check: cheaper than any of the above, and everywhere.
describe('the scripts', () => {
  it('are what a plain shell understands', () => {
    for (const text of [loadBalancer, rendezvous]) {
      for (const path of SCRIPTS)
        execFileSync('sh', ['-n', save('script.sh', written(text, path))]);
    }
  });
});
