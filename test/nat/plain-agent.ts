/**
 * Plain sockets on one computer, for the proofs of routers: runs in its namespace and does as lines
 * of JSON on stdin say, answering with lines on stdout. Ends with its stdin.
 */
import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** What it is asked. */
export type Order =
  | { readonly op: 'open'; readonly host: string; readonly port: number; readonly echoes: boolean }
  | {
      readonly op: 'send';
      readonly socket: number;
      readonly host: string;
      readonly port: number;
      readonly text: string;
      /** So many routers it passes; 64 by default. */
      readonly hops: number;
    }
  | { readonly op: 'listen-tcp'; readonly port: number }
  | { readonly op: 'connect-tcp'; readonly host: string; readonly port: number };

/** A datagram that came to one of its sockets. */
export interface Heard {
  /** The port of the socket. */
  readonly socket: number;
  readonly host: string;
  readonly port: number;
  readonly text: string;
  /** On this agent's clock. */
  readonly atMs: number;
}

/**
 * What it tells; the value of an answer is a port, an instant in ms where something was sent, or 0
 * where it could not be done.
 */
export type Told = { readonly answer: number; readonly value: number } | Heard;

const sockets = new Map<number, Socket>();

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { order, number } = JSON.parse(line) as { order: Order; number: number };
    obey(order, (value) => tell({ answer: number, value }));
  })
  .on('close', () => process.exit());

function obey(order: Order, done: (value: number) => void): void {
  switch (order.op) {
    case 'open': {
      const socket = createSocket(order.host.includes(':') ? 'udp6' : 'udp4');
      socket.on('message', (bytes, { address, port }) => {
        const atMs = performance.now();
        if (order.echoes) socket.send(bytes, port, address);
        const text = bytes.toString();
        tell({ socket: socket.address().port, host: address, port, text, atMs });
      });
      socket.on('error', () => done(0));
      socket.bind(order.port, order.host, () => {
        const { port } = socket.address();
        sockets.set(port, socket);
        done(port);
      });
      return;
    }
    case 'send': {
      const atMs = performance.now();
      const socket = sockets.get(order.socket);
      socket?.setTTL(order.hops);
      socket?.send(order.text, order.port, order.host, (error) => done(error === null ? atMs : 0));
      return;
    }
    case 'listen-tcp':
      createServer((socket) => socket.end()).listen(order.port, () => done(order.port));
      return;
    case 'connect-tcp': {
      const socket = connect(order.port, order.host, () => {
        done(1);
        socket.destroy();
      });
      socket.on('error', () => done(0));
    }
  }
}

function tell(told: Told): void {
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
