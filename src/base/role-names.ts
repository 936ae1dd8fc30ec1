// Apart from certificate.ts, whose X.509 library takes long to load, for programs that only check.

/** The DNS name every load balancer's certificate carries, instead of an address. */
export const LOAD_BALANCER_NAME = 'loadbalancer.chatty.internal';
/** The DNS name every rendezvous server's certificates carry, instead of an address. */
export const RENDEZVOUS_NAME = 'rendezvous.chatty.internal';
/** The DNS name every peer's certificate carries: nothing of the person's. */
export const PEER_NAME = 'peer.chatty.internal';
