import { chatty } from './chatty.ts';
import type { Contender } from './contender.ts';
import { javascriptFloor } from './javascript-floor.ts';
import { nodeTls } from './node-tls.ts';

export const contenders = {
  'chatty 1200': chatty(1200),
  'chatty 1350': chatty(1350),
  'JavaScript floor': javascriptFloor,
  'node:tls': nodeTls,
} as const satisfies Record<string, Contender>;

export type ContenderName = keyof typeof contenders;

export function isContender(name: string): name is ContenderName {
  return name in contenders;
}
