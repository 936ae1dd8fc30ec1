import { expect, test } from 'vitest';
import { allows } from './policy.ts';

const ARN = 'arn:aws:ssm:us-east-1:123456789012:parameter/chatty/tls/';
const MANAGED = ['arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore'];

test('allows what a statement names, and nothing else', () => {
  const own = [policy({ Effect: 'Allow', Action: 'ssm:GetParameter', Resource: `${ARN}ca.pem` })];
  expect(allows(own, [], 'ssm:GetParameter', `${ARN}ca.pem`)).toBe(true);
  expect(allows(own, [], 'ssm:GetParameter', `${ARN}other.pem`)).toBe(false);
  expect(allows(own, [], 'ssm:PutParameter', `${ARN}ca.pem`)).toBe(false);
});

test('knows that Amazon’s own policy opens every parameter, and that a denial closes them', () => {
  expect(allows([], MANAGED, 'ssm:GetParameter', `${ARN}other.pem`)).toBe(true);
  const denial = policy({
    Effect: 'Deny',
    Action: 'ssm:GetParameter*',
    NotResource: [`${ARN}ca.pem`],
  });
  expect(allows([denial], MANAGED, 'ssm:GetParameter', `${ARN}other.pem`)).toBe(false);
  expect(allows([denial], MANAGED, 'ssm:GetParameter', `${ARN}ca.pem`)).toBe(true);
});

function policy(statement: object): string {
  return JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
}
