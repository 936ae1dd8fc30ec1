import type { Identity } from '../../../src/base/identity.ts';

/** One two-way stream of bytes between the two processes, whoever carries it. */
export interface Channel {
  /** False: wait for `drained` before the next. */
  write(bytes: Buffer): boolean;
  drained(): Promise<void>;
  onData(take: (bytes: Buffer) => void): void;
}

export interface Server {
  readonly port: number;
}

export interface Client {
  /** A new connection, from nothing to a finished handshake with both keys proven. */
  connect(): Promise<Session>;
}

export interface Session {
  open(): Promise<Channel>;
  close(): void;
}

/** A transport that is measured. */
export interface Contender {
  serve(identity: Identity, take: (channel: Channel) => void): Promise<Server>;
  client(identity: Identity, port: number): Promise<Client>;
}
