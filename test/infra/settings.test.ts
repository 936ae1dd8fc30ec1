import { describe, expect, it } from 'vitest';
import { readSettings, SettingsError, type SettingSources } from '../../infra/settings.ts';

function read(context: unknown, environment: SettingSources['environment'] = {}) {
  return readSettings({ context, environment, root: '/project', dataFolder: '/home/me/data' });
}

/** What is said of settings that cannot be used. */
function problems(context: unknown, environment: SettingSources['environment'] = {}): string[] {
  try {
    read(context, environment);
  } catch (error) {
    if (error instanceof SettingsError) return [...error.problems];
    throw error;
  }
  return [];
}

describe('the settings', () => {
  it('have a default each', () => {
    expect(read(undefined)).toEqual({
      name: 'chatty',
      region: 'us-east-1',
      zones: [],
      loadBalancers: 2,
      rendezvousServers: 2,
      loadBalancerInstanceType: 't3.small',
      rendezvousInstanceType: 't3.small',
      processes: 'auto',
      peerCidrs: ['0.0.0.0/0', '::/0'],
      vpcCidr: '10.50.0.0/16',
      pki: '/home/me/data/chatty/clusters/chatty',
      artifact: '/project/.deploy/chatty.tar.gz',
      state: '/project/terraform.chatty.tfstate',
      stateBucket: '',
    });
  });

  it('come from cdktf.json, and before that from the environment', () => {
    const context = { name: 'one', loadBalancers: 3, zones: ['eu-west-1a'], processes: 2 };
    const environment = {
      CHATTY_INFRA_NAME: 'two',
      CHATTY_INFRA_ZONES: 'eu-west-1b, eu-west-1c',
      CHATTY_INFRA_RENDEZVOUS_SERVERS: '7',
      CHATTY_LB: 'of somebody else',
    };
    expect(read(context, environment)).toMatchObject({
      ...{ name: 'two', loadBalancers: 3, rendezvousServers: 7, processes: 2 },
      zones: ['eu-west-1b', 'eu-west-1c'],
      pki: '/home/me/data/chatty/clusters/two',
      state: '/project/terraform.two.tfstate',
    });
  });

  it.each([
    ['name', 'Chatty', '3 to 24 lower-case letters'],
    ['region', 'Frankfurt', 'a region of AWS, like eu-central-1'],
    ['zones', ['eu-west-1'], 'up to 6 different availability zones'],
    ['zones', ['eu-west-1a', 'eu-west-1a'], 'up to 6 different availability zones'],
    ['loadBalancers', 0, 'a whole number from 1 to 4'],
    ['loadBalancers', '5', 'a whole number from 1 to 4'],
    ['rendezvousServers', 2.5, 'a whole number from 1 to 32'],
    ['rendezvousServers', 'many', 'a whole number from 1 to 32'],
    ['loadBalancerInstanceType', 'small', 'x86-64 cores, like t3.small'],
    ['rendezvousInstanceType', 't4g.small', 'it has ARM cores'],
    ['rendezvousInstanceType', 'a1.large', 'it has ARM cores'],
    ['rendezvousInstanceType', 'c7gn.large', 'it has ARM cores'],
    ['rendezvousInstanceType', 'x2gd.medium', 'it has ARM cores'],
    ['processes', 9, 'auto, or a whole number from 1 to 8'],
    ['peerCidrs', [], 'one or more different networks'],
    ['peerCidrs', ['10.0.0.0/33'], 'one or more different networks'],
    ['peerCidrs', ['10.0.0.0'], 'one or more different networks'],
    ['vpcCidr', '10.0.0.0/8', 'an IPv4 network of /16 to /24'],
    ['vpcCidr', 'fd00::/20', 'an IPv4 network of /16 to /24'],
    ['pki', '', 'the path of a file or folder'],
    ['stateBucket', 'a', 'empty, or a name'],
  ])('are refused where %s is %j, with what is allowed', (key, value, allowed) => {
    const found = problems({ [key]: value });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(
      `${key} (cdktf.json, context.chatty): ${JSON.stringify(value)} is not`,
    );
    expect(found[0]).toContain(allowed);
  });

  it.each(['g4dn.xlarge', 't3.micro', 'm7i-flex.large', 'c6in.metal', 'x2iedn.xlarge'])(
    'take %s for x86-64',
    (type) => {
      expect(read({ rendezvousInstanceType: type }).rendezvousInstanceType).toBe(type);
    },
  );

  it('that are unknown are refused, with those there are', () => {
    const found = problems({ loadbalancers: 3 }, { CHATTY_INFRA_REGOIN: 'eu-west-1' });
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(/^loadbalancers .*no such setting; there are name, region/);
    expect(found[1]).toMatch(/^CHATTY_INFRA_REGOIN: there is no such setting/);
  });

  it('are refused all at once, and name the variable they come from', () => {
    const found = problems({ name: 1 }, { CHATTY_INFRA_LOAD_BALANCERS: 'two' });
    expect(found).toHaveLength(2);
    expect(found[1]).toContain('loadBalancers (CHATTY_INFRA_LOAD_BALANCERS): "two" is not');
  });

  it('that are no object are refused', () => {
    expect(problems([])).toEqual([expect.stringContaining('has to be an object')]);
  });
});
