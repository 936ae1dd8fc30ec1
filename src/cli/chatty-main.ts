import { formatBalancerAddress } from '../base/balancer-address.ts';
import { ChattyError, ExitCode } from '../base/errors.ts';
import { formatFingerprint, parseFingerprint } from '../base/identity.ts';
import { requireName } from '../base/name.ts';
import { doctorSchema, peerSchema, plainSchema } from '../config/schemas.ts';
import { flag } from '../config/format.ts';
import { type ValuesOf, withDefault } from '../config/setting.ts';
import type { InviteOptions } from './invite.ts';
import { parseInvitation } from './invite-link.ts';
import type { PeerSettings } from './chat-command.ts';
import { type Context, defineCommand, type Environment, type Io, runProgram } from './program.ts';
import { defaultStateDirectory } from './state-directory.ts';

const inviteSchema = {
  ...peerSchema,
  print: withDefault(flag, false, 'only print the link'),
};

const trustSchema = { state: peerSchema.state, ...plainSchema };

const invite = defineCommand({
  name: 'invite',
  summary:
    'Prints a link for FRIEND to join with, which proves to FRIEND who NAME is, and waits for FRIEND.',
  schema: inviteSchema,
  positionals: '<NAME> <FRIEND>',
  examples: [
    'chatty invite alice bob --lb lb.example.org:50050',
    'chatty invite alice bob --lb lb.example.org:50050 --print',
  ],
  run: async (values, positionals, context) => {
    const { runInvite } = await import('./invite.ts');
    const settings: InviteOptions = { ...readSettings(values, context), print: values.print };
    return runInvite(readPair(positionals), settings, context);
  },
});

const join = defineCommand({
  name: 'join',
  summary: 'Chats with whoever made the link, under the name they invited; it needs nothing else.',
  schema: peerSchema,
  positionals: '<LINK> [NAME]',
  examples: ['chatty join chatty://v1/alice/bob/sha256-…/lb.example.org:50050=sha256-…'],
  run: async (values, [link = '', typedName], context) => {
    const parsed = parseInvitation(link);
    if ('fault' in parsed) {
      throw new ChattyError('CHATTY_USAGE', `the link cannot be used: ${parsed.fault}`, {
        hint: 'Ask your friend to send it again; "chatty invite" makes it.',
      });
    }
    const { inviter, guest, key, loadBalancers } = parsed.invitation;
    const name = typedName === undefined ? guest : requireName(typedName, 'your name');
    if (name !== guest) {
      throw new ChattyError('CHATTY_USAGE', `the link invites ${guest}, not ${name}`, {
        hint: `${inviter} waits for ${guest} only: leave the name out, or ask for another link.`,
      });
    }
    const friendKey = formatFingerprint(key);
    if (values.friendKey !== undefined && values.friendKey !== friendKey) {
      throw new ChattyError('CHATTY_USAGE', 'the link and --friend-key name different keys');
    }
    const { chat } = await import('./chat-command.ts');
    const settings = readSettings(values, context);
    const told = loadBalancers.map(formatBalancerAddress);
    return chat(
      { name, friend: inviter },
      { ...settings, friendKey, loadBalancers: [...told, ...settings.loadBalancers] },
      context,
    );
  },
});

const trust = defineCommand({
  name: 'trust',
  summary: 'Accepts FINGERPRINT as the key of FRIEND, whatever NAME knew before.',
  schema: trustSchema,
  positionals: '<NAME> <FRIEND> <FINGERPRINT>',
  examples: ['chatty trust alice bob sha256-…'],
  run: async (values, positionals, { io, env }) => {
    const { name, friend } = readPair(positionals);
    const fingerprint = parseFingerprint(positionals[2] ?? '');
    if (fingerprint === undefined) {
      throw new ChattyError(
        'CHATTY_USAGE',
        `"${positionals[2] ?? ''}" is no fingerprint of a key`,
        {
          hint: 'A fingerprint is sha256- and 43 letters and digits; chatty shows it when two connect.',
        },
      );
    }
    const [{ KnownPeers }, { personDirectory }, { systemClock }] = await Promise.all([
      import('../peer/known-peers.ts'),
      import('../peer/identity-store.ts'),
      import('../base/clock.ts'),
    ]);
    const state = values.state ?? defaultStateDirectory(env);
    const known = await KnownPeers.open(personDirectory(state, name));
    await known.remember(friend, fingerprint, 'verified', systemClock.wallClock());
    io.stdout.write(`${name} now knows ${friend} by the key ${formatFingerprint(fingerprint)}\n`);
    return ExitCode.done;
  },
});

const doctor = defineCommand({
  name: 'doctor',
  summary: 'Says what this computer’s network does, and what that means for reaching friends.',
  schema: doctorSchema,
  examples: ['chatty doctor --lb lb.example.org:50050', 'chatty doctor --json'],
  run: async (values, _positionals, context) => {
    const { runDoctor } = await import('./doctor-run.ts');
    const settings = {
      loadBalancers: values.loadbalancer,
      caFile: values.ca,
      strict: values.strict,
      state: values.state ?? defaultStateDirectory(context.env),
      json: values.json,
      portMapping: values.portMapping,
    };
    return runDoctor(settings, context);
  },
});

const program = defineCommand({
  name: 'chatty',
  summary:
    'Chats with FRIEND, directly and encrypted from end to end, as soon as both of you run it: each ' +
    'names the other. A name that is one of the further commands needs -- before it.',
  schema: peerSchema,
  positionals: '<NAME> <FRIEND>',
  examples: [
    'chatty alice bob --lb lb.example.org:50050',
    'chatty alice bob --lb lb.example.org:50050 --json < lines.txt',
    'chatty --lb lb.example.org:50050 -- join bob',
  ],
  subcommands: [invite, join, trust, doctor],
  run: async (values, positionals, context) => {
    const pair = readPair(positionals);
    const settings = readSettings(values, context);
    const { chat } = await import('./chat-command.ts');
    return chat(pair, settings, context);
  },
});

function readPair([name = '', friend = '']: readonly string[]): { name: string; friend: string } {
  const pair = {
    name: requireName(name, 'your name'),
    friend: requireName(friend, "the friend's name"),
  };
  if (pair.name !== pair.friend) return pair;
  throw new ChattyError('CHATTY_USAGE', 'the friend has your own name', {
    hint: 'Two people who chat need two names.',
  });
}

function readSettings(values: ValuesOf<typeof peerSchema>, { env }: Context): PeerSettings {
  return {
    loadBalancers: values.loadbalancer,
    caFile: values.ca,
    strict: values.strict,
    friendKey: values.friendKey,
    state: values.state ?? defaultStateDirectory(env),
    timeoutMs: values.timeout,
    json: values.json,
    relay: values.relay,
    portMapping: values.portMapping,
  };
}

/** The command `chatty`. @returns its exit code. */
export function main(argv: readonly string[], env: Environment, io: Io): Promise<number> {
  return runProgram(program, argv, env, io);
}
