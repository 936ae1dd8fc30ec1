import type { ErrorCode } from '../base/errors.ts';
import { MAX_NAME_BYTES } from '../base/name.ts';
import type { Fault } from '../rpc/generated/chatty/v1/common.ts';
import type { NotAdmitted } from './admission.ts';
import type { Dismissal, Refusal } from './introducer.ts';
import { MAX_WISHES } from './record.ts';

/*
 * What peers are told when a server says no. `retryAfterMs` 0: trying again unchanged does not help.
 */

function fault(code: ErrorCode, message: string, retryAfterMs = 0): Fault {
  return { code, message, retryAfterMs };
}

/** Why a registration is refused or, later, ended. */
export const REFUSALS: Readonly<
  Record<Refusal | NotAdmitted | Exclude<Dismissal, 'superseded'>, Fault>
> = {
  // Somebody may leave, or a server may notice that they have.
  'name-taken': fault(
    'CHATTY_NAME_TAKEN',
    'somebody else is waiting under this name: choose another name, or wait until they have left',
    5_000,
  ),
  replaced: fault(
    'CHATTY_REPLACED',
    'a newer program with the same name and key has taken this one’s place',
  ),
  full: fault('CHATTY_OVERLOADED', 'this server holds as many peers as it can', 5_000),
  'source-full': fault(
    'CHATTY_OVERLOADED',
    'this server holds as many peers from your network as it may',
    10_000,
  ),
  'too-often': fault(
    'CHATTY_OVERLOADED',
    'too many registrations a minute came from your network',
    5_000,
  ),
  'key-full': fault(
    'CHATTY_OVERLOADED',
    'your key waits under as many names here as one key may',
    60_000,
  ),
};

export const FAULTS = {
  starting: fault('CHATTY_NO_SERVER', 'this server is still starting: use another one', 500),
  draining: fault('CHATTY_NO_SERVER', 'this server is stopping: use another one', 1_000),
  lateHello: fault('CHATTY_PROTOCOL', 'no hello came within the time allowed', 1_000),
  notAFrame: fault('CHATTY_PROTOCOL', 'what came is no frame of this protocol'),
  helloFirst: fault('CHATTY_PROTOCOL', 'the first frame has to be a hello, and only the first'),
  badName: fault(
    'CHATTY_USAGE',
    `a name is 1 to ${MAX_NAME_BYTES} bytes of UTF-8 in normal form C, without control characters`,
  ),
  ownName: fault('CHATTY_USAGE', 'nobody can wait for their own name'),
  tooManyWishes: fault(
    'CHATTY_OVERLOADED',
    `one connection can wait for ${MAX_WISHES} friends at most`,
  ),
  badSession: fault('CHATTY_PROTOCOL', 'the hello carries no session id'),
  badEndpoint: fault('CHATTY_PROTOCOL', 'the hello carries no usable credentials for checks'),
  tooFast: fault('CHATTY_OVERLOADED', 'too many frames in too short a time', 5_000),
} as const satisfies Record<string, Fault>;
