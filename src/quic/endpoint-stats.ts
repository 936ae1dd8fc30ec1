/** Counters since the endpoint was opened, and gauges of now. */
export interface EndpointStats {
  datagramsIn: number;
  datagramsOut: number;
  /** Incoming datagrams nobody was found for, by reason. */
  readonly dropped: {
    /** No STUN, relay or QUIC, or a QUIC header that cannot be. */
    junk: number;
    /** A connection ID of no connection. */
    unknown: number;
    /** An Initial that quiche refused. */
    invalid: number;
    /** `admit` said so, or nothing is served. */
    refused: number;
    /** A cap was reached. */
    limit: number;
    /** From an address that is no path of the connection. */
    path: number;
  };
  /** Datagrams at which a handler of ours (`admit`, `onStun`, `onRelay`, a carrier) threw. */
  faults: number;
  /** Outgoing datagrams that could not be sent. */
  sendFailures: number;
  /** Times that nothing (more) could be sent to an address that a client has not proven. */
  withheld: number;
  retriesSent: number;
  accepted: number;
  dialled: number;
  /** Live connections of both roles, handshakes included. */
  connections: number;
  /** Accepted connections whose handshake is not done. */
  handshakes: number;
  /** Sockets opened by `openSocket` and not closed. */
  extraSockets: number;
}

/** What is counted, each where it happens; the gauges are read where they are kept. */
export type EndpointCounters = Omit<EndpointStats, 'connections' | 'handshakes' | 'extraSockets'>;

export function newCounters(): EndpointCounters {
  return {
    datagramsIn: 0,
    datagramsOut: 0,
    dropped: { junk: 0, unknown: 0, invalid: 0, refused: 0, limit: 0, path: 0 },
    faults: 0,
    sendFailures: 0,
    withheld: 0,
    retriesSent: 0,
    accepted: 0,
    dialled: 0,
  };
}
