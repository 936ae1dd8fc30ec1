import type { Writable } from 'node:stream';
import type { Clock, Timer } from '../base/clock.ts';
import { ChattyError, ExitCode, reasonOf } from '../base/errors.ts';
import { stripControl } from '../base/name.ts';
import type { Chatty, ChattyEvent } from '../chat/chatty.ts';
import { ConnectDeadline } from '../chat/connect-deadline.ts';
import type { Conversation, ConversationEvent } from '../chat/conversation.ts';
import { Ending, type EndingInput } from '../chat/ending.ts';
import { MAX_TEXT_BYTES } from '../chat/session-limits.ts';
import { type InputLine, inputLines } from './input-lines.ts';
import type { Screen, ShownEvent } from './shown-event.ts';

export interface ChatRunOptions {
  readonly chatty: Pick<Chatty, 'events'>;
  readonly conversation: Pick<Conversation, 'events' | 'friend' | 'send' | 'end' | 'goodbye'>;
  readonly screen: Screen;
  readonly clock: Clock;
  /** When the program started, on `clock`. */
  readonly startedAt: number;
  /** How long the first connection may take; undefined: for ever. */
  readonly timeoutMs: number | undefined;
  readonly input: AsyncIterable<Uint8Array | string>;
  /** A person types the input: an empty line is no message. */
  readonly typed: boolean;
  readonly output: Writable;
  /** The user wants to leave now, or nobody reads the output any more. */
  readonly signal: AbortSignal;
}

/**
 * One chat of the `chatty` command, from its first event to its exit: shows what happens, sends what
 * comes in, and ends when the input's end, the timeout or the user says so.
 */
export class ChatRun {
  readonly #options: ChatRunOptions;
  readonly #ending = new Ending();
  readonly #deadline: ConnectDeadline;
  readonly #over: Promise<ExitCode>;
  #resolve!: (code: ExitCode) => void;
  #reject!: (error: Error) => void;
  #isOver = false;
  #timer: Timer | undefined;
  #broken = false;
  #registered = false;
  #matched = false;
  #noServer: ChattyError | undefined;

  constructor(options: ChatRunOptions) {
    this.#options = options;
    this.#deadline = new ConnectDeadline(options.startedAt, options.timeoutMs);
    this.#over = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /**
   * @returns the exit code.
   * @throws ChattyError where the chat failed: it says why, and has the exit code.
   */
  async run(): Promise<ExitCode> {
    const { chatty, conversation, input, signal } = this.#options;
    const lines = inputLines(input);
    const onAbort = (): void => void this.#leave();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#schedule();
    this.#guard(this.#follow(chatty.events, (event) => this.#onChatty(event)));
    this.#guard(this.#follow(conversation.events, (event) => this.#onConversation(event)));
    this.#guard(this.#read(lines));
    try {
      return await this.#over;
    } finally {
      this.#timer?.cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** A fault of our own in one of the loops ends the program, loudly. */
  #guard(loop: Promise<void>): void {
    loop.catch((error: unknown) => this.#fail(error as Error));
  }

  async #follow<Event>(events: AsyncIterable<Event>, take: (event: Event) => void): Promise<void> {
    for await (const event of events) {
      if (this.#isOver) return;
      take(event);
    }
  }

  async #read(lines: AsyncIterable<InputLine>): Promise<void> {
    try {
      for await (const line of lines) {
        if (this.#isOver) return;
        await this.#takeLine(line);
      }
    } catch (error) {
      // Sending fails only where the conversation is closed: then nobody wants the rest.
      if (error instanceof ChattyError || this.#isOver) return;
      this.#show({ type: 'error', error: inputError(error) });
    }
    this.#step({ type: 'input-ended' });
  }

  async #takeLine(line: InputLine): Promise<void> {
    if (line.kind !== 'line') {
      this.#show({ type: 'error', error: lineError(line) });
      return;
    }
    const { text } = line;
    if (text === '' && this.#options.typed) return;
    const { id } = await this.#options.conversation.send(text);
    this.#show({ type: 'sent', id, text });
    this.#step({ type: 'line-submitted' });
  }

  #onChatty(event: ChattyEvent): void {
    switch (event.type) {
      case 'registered':
        this.#registered = true;
        this.#noServer = undefined;
        this.#deadline.serverAnswered();
        this.#show(event);
        break;
      case 'no-server':
        this.#onNoServer(event.error);
        break;
      case 'error':
        if (event.fatal) this.#fail(event.error);
        else this.#show(event);
        break;
    }
    this.#schedule();
  }

  #onNoServer(error: ChattyError): void {
    // What is not trusted now will not be later: waiting is of no use.
    if (error.code === 'CHATTY_UNTRUSTED' && !this.#registered) this.#fail(error);
    else if (error.message !== this.#noServer?.message) this.#show({ type: 'error', error });
    this.#noServer = error;
  }

  #onConversation(event: ConversationEvent): void {
    switch (event.type) {
      case 'waiting':
        this.#show(event);
        break;
      case 'matched':
        this.#matched = true;
        this.#show(event);
        break;
      case 'connected':
        this.#broken = false;
        this.#deadline.connected();
        this.#show(event);
        this.#step({ type: 'connected' });
        break;
      case 'path':
        this.#show(event);
        if (this.#broken) this.#step({ type: 'reconnected' });
        this.#broken = false;
        break;
      case 'message': {
        const { type, from, id, session, text } = event;
        this.#show({ type, from, id, session, text }, () => event.accept());
        break;
      }
      case 'obstacle':
      case 'guessing':
      case 'relay-limited':
        this.#show(event);
        break;
      case 'delivered':
        this.#show(event);
        this.#step({ type: 'line-delivered' });
        break;
      case 'end-acknowledged':
        this.#step({ type: 'end-acknowledged' });
        break;
      case 'friend-ended':
        this.#show(event);
        this.#step({ type: 'friend-ended' });
        break;
      case 'left':
        this.#step({ type: 'friend-goodbye' }, event.reason);
        break;
      case 'reconnecting':
      case 'disconnected':
        this.#broken = true;
        this.#show(event);
        this.#step({ type: 'disconnected' });
        break;
      case 'error':
        if (event.fatal) this.#fail(event.error);
        else this.#show(event);
        break;
    }
  }

  /** @param reason of a friend who has left. */
  #step(input: EndingInput, reason = ''): void {
    const { clock, conversation } = this.#options;
    if (this.#isOver) return;
    for (const effect of this.#ending.step(input, clock.now())) {
      switch (effect.type) {
        case 'send-end':
          this.#guard(conversation.end());
          break;
        case 'send-goodbye':
          this.#guard(conversation.goodbye().then(() => this.#step({ type: 'goodbye-over' })));
          break;
        case 'print-disconnected':
          this.#show({ type: 'disconnected', reason });
          break;
        case 'exit':
          this.#exit(effect.code);
          break;
      }
    }
    this.#schedule();
  }

  #schedule(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    if (this.#isOver) return;
    const deadlines = [this.#ending.nextDeadline(), this.#deadline.nextDeadline()];
    const at = Math.min(...deadlines.filter((deadline) => deadline !== undefined));
    if (at === Infinity) return;
    this.#timer = clock.setTimer(at - clock.now(), () => {
      const expired = this.#deadline.expired(clock.now());
      if (expired === undefined) this.#step({ type: 'tick' });
      else this.#fail(expired === 'no-server' ? this.#noServerError() : this.#noFriendError());
    });
  }

  #noServerError(): ChattyError {
    if (this.#noServer !== undefined) return this.#noServer;
    return new ChattyError('CHATTY_NO_SERVER', 'no rendezvous server answered in time', {
      hint: 'Check the address given with --loadbalancer and your connection.',
    });
  }

  #noFriendError(): ChattyError {
    const friend = stripControl(this.#options.conversation.friend);
    return this.#matched
      ? new ChattyError('CHATTY_NO_FRIEND', `${friend} is there, but no path to them was found`, {
          hint: 'Try again, or try another network: yours or theirs may block direct connections.',
        })
      : new ChattyError('CHATTY_NO_FRIEND', `${friend} did not come in time`, {
          hint: 'Both have to run chatty at the same time, each naming the other, in the same cluster.',
        });
  }

  async #leave(): Promise<void> {
    await this.#options.conversation.goodbye('interrupted').catch(() => undefined);
    this.#exit(ExitCode.interrupted);
  }

  #show(event: ShownEvent, written?: () => void): void {
    if (this.#isOver) return;
    const { screen, output, clock, startedAt } = this.#options;
    const text = screen.show(event, clock.now() - startedAt);
    if (text === undefined) written?.();
    else {
      output.write(`${text}\n`, (error) => {
        if (error == null) written?.();
      });
    }
  }

  #exit(code: ExitCode): void {
    this.#isOver = true;
    this.#resolve(code);
  }

  #fail(error: Error): void {
    this.#isOver = true;
    this.#reject(error);
  }
}

function lineError(line: Exclude<InputLine, { kind: 'line' }>): ChattyError {
  return line.kind === 'not-utf8'
    ? new ChattyError(
        'CHATTY_NOT_UTF8',
        `line ${line.number} of the input is not UTF-8; not sent`,
        {
          hint: 'Convert the input to UTF-8 first.',
        },
      )
    : new ChattyError(
        'CHATTY_MESSAGE_TOO_LONG',
        `line ${line.number} of the input has more than ${MAX_TEXT_BYTES} bytes; not sent`,
        { hint: 'Split it into several lines.' },
      );
}

function inputError(error: unknown): ChattyError {
  const message = `the input cannot be read any further: ${reasonOf(error)}`;
  return new ChattyError('CHATTY_INTERRUPTED', message, { cause: error });
}
