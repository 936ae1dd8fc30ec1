import type { FakeAws } from '../fake-aws/fake-aws.ts';

/** The faults that a rehearsal can be given, to see it fail and say why. */
export const PLANTS = {
  rule: 'the rule that lets the world reach udp 4433 is gone',
  port: 'the servers are told to listen on another port',
  ca: 'the certificate of the CA is missing from the parameter store',
} as const;
export type Plant = keyof typeof PLANTS;

/** `port`: what an instance is told at its start, in the place of what was recorded. */
export function plantInUserData(text: string, plant: Plant | undefined): string {
  return plant === 'port' ? text.replace('PORTS="4433', 'PORTS="4434') : text;
}

/** `ca`: takes the certificate away as soon as it is there. */
export function plantInParameters(aws: FakeAws, plant: Plant | undefined): void {
  if (plant !== 'ca') return;
  for (const name of aws.ssm.parameters.keys()) {
    if (name.endsWith('/ca.pem')) aws.ssm.parameters.delete(name);
  }
}

/** `rule`: takes it from what the network enforces. */
export function plantInRules(aws: FakeAws, plant: Plant | undefined): void {
  if (plant !== 'rule') return;
  const { rules } = aws.ec2.groups;
  for (const rule of rules.all()) {
    const isIt = rule.ipProtocol === 'udp' && rule.fromPort === 4433 && rule.cidrIpv4 !== undefined;
    if (isIt) rules.delete(rule.securityGroupRuleId);
  }
}
