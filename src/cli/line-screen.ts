import { formatAddress } from '../base/address.ts';
import { parseFingerprint } from '../base/identity.ts';
import { stripControl } from '../base/name.ts';
import { comparisonNumber } from '../chat/comparison-number.ts';
import type { PathInfo } from '../chat/conversation.ts';
import { shellWord } from '../base/shell-word.ts';
import type { RelayLimit } from '../path/index.ts';
import type { Screen, ShownEvent } from './shown-event.ts';

/** What `chatty` takes for a command where a name could stand. */
const SUBCOMMANDS: ReadonlySet<string> = new Set(['invite', 'join', 'trust', 'doctor', 'help']);

export interface LineScreenOptions {
  readonly ownName: string;
  readonly friend: string;
  /** One's own key, as `sha256-…`. */
  readonly ownFingerprint: string;
  /** A load balancer as the friend has to name it. */
  readonly loadBalancer: string;
}

/**
 * A chat on a terminal, line by line, in words for people. What is not the friend's begins with an
 * asterisk; text of others can neither move the cursor nor look like a line of ours.
 */
export class LineScreen implements Screen {
  readonly #options: LineScreenOptions;
  readonly #friend: string;
  #greeted = false;
  #path: PathInfo['path'] | undefined;

  constructor(options: LineScreenOptions) {
    this.#options = options;
    this.#friend = stripControl(options.friend);
  }

  show(event: ShownEvent): string | undefined {
    if (event.type === 'message') return this.#message(event.text);
    const notes = this.#notes(event);
    return notes.length === 0 ? undefined : notes.map((note) => `* ${note}`).join('\n');
  }

  /** Each further line of a message is set off, or it could pass for another message. */
  #message(text: string): string {
    const [first = '', ...rest] = text.split(/\r\n|[\n\r\u2028\u2029]/).map(stripControl);
    return [`${this.#friend}: ${first}`, ...rest.map((line) => `  | ${line}`)].join('\n');
  }

  #notes(event: Exclude<ShownEvent, { type: 'message' }>): string[] {
    const friend = this.#friend;
    switch (event.type) {
      case 'registered':
        return [`Waiting on server ${stripControl(event.server)}.`];
      case 'waiting':
        return this.#waiting();
      case 'matched':
        return [`${friend} is there. Connecting …`];
      case 'connected':
        this.#path = event.path;
        return this.#connected(event);
      case 'path':
        return this.#pathChanged(event);
      case 'sent':
        return [];
      case 'delivered':
        return [`Message ${event.id} has arrived.`];
      case 'friend-ended':
        return [`${friend} will write no more.`];
      case 'guessing':
        return guessing(event);
      case 'obstacle':
        return [`No direct way was found: ${event.reason}.`, event.hint];
      case 'relay-limited':
        return [`The relay lets no more through: ${LIMITS[event.limit]}.`];
      case 'reconnecting':
        this.#path = undefined;
        return ['The connection broke. Connecting again …'];
      case 'disconnected':
        this.#path = undefined;
        return [`${friend} is gone (${stripControl(event.reason)}).`];
      case 'invitation':
        return [
          `Send this to ${friend}, by a way that only the two of you read:`,
          `  chatty join ${stripControl(event.link)}`,
        ];
      case 'error': {
        const { message, hint } = event.error;
        const lines = message.split('\n').map(stripControl);
        return hint === undefined ? lines : [...lines, stripControl(hint)];
      }
    }
  }

  #waiting(): string[] {
    const { ownName, friend, loadBalancer } = this.#options;
    if (this.#greeted) return [`Waiting for ${this.#friend} to come back.`];
    this.#greeted = true;
    const names = `${shellWord(friend)} ${shellWord(ownName)}`;
    const command = needsDashes(friend, ownName)
      ? `chatty --lb ${loadBalancer} -- ${names}`
      : `chatty ${names} --lb ${loadBalancer}`;
    return [`Waiting for ${this.#friend}, who has to run:  ${stripControl(command)}`];
  }

  #connected(info: PathInfo): string[] {
    return [
      `Connected with ${this.#friend}, ${inWords(info)}, after ${info.sinceStartMs} ms.`,
      ...this.#trust(info),
      'Type a line and press Enter to send it. Ctrl-D ends when all is delivered, Ctrl-C at once.',
    ];
  }

  #trust(info: PathInfo): string[] {
    const { ownName, friend, ownFingerprint } = this.#options;
    if (info.trust === 'verified') return ['Their key is the one you have verified.'];
    if (info.trust === 'known') return ['Their key is the one they had before.'];
    const [own, theirs] = [ownFingerprint, info.fingerprint].map(parseFingerprint);
    const number = own && theirs ? comparisonNumber(own, theirs) : '';
    return [
      `This is the first contact with ${this.#friend}: a dishonest server, or whoever took the name,`,
      `could pose as them. To be sure, compare this number with ${this.#friend} by another way, as in a call:`,
      `  ${number.slice(0, 35)}`,
      `  ${number.slice(36)}`,
      'If both of you see the same one, nobody is between you, and you can keep that:',
      `  chatty trust ${stripControl(`${shellWord(ownName)} ${shellWord(friend)}`)} ${info.fingerprint}`,
      `Your own key is ${ownFingerprint}.`,
    ];
  }

  #pathChanged(info: PathInfo): string[] {
    const before = this.#path;
    this.#path = info.path;
    if (before === undefined) return [`Connected again, ${inWords(info)}.`];
    return before === info.path ? [] : [`Now connected ${inWords(info)}.`];
  }
}

/** What a relay allows. */
const LIMITS: Readonly<Record<RelayLimit, string>> = {
  rate: 'it is too much a second',
  bytes: 'it was too much in all; a direct connection has no such limit',
  time: 'the time for one conversation is over',
  server: 'the server is busy',
};

/** Whether names would be taken for something else where they stand first. */
function needsDashes(...names: [first: string, second: string]): boolean {
  return SUBCOMMANDS.has(names[0]) || names.some((name) => name.startsWith('-'));
}

function inWords(info: PathInfo): string {
  const where = formatAddress(info.remote);
  return info.path === 'direct'
    ? `directly (${where})`
    : `through a relay (${where}), which cannot read what you write`;
}

/** Found ways are told as the path they are. */
function guessing({ state, probes }: Extract<ShownEvent, { type: 'guessing' }>): string[] {
  if (state === 'found') return [];
  if (state === 'given-up') return [`Guessing ports found no direct way (${probes} tried).`];
  return [`A router hides its port: guessing (${probes} tried) …`];
}
