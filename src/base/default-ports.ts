/** The ports programs use unless told otherwise: DESIGN's table "Planes and ports". */
export const DefaultPort = {
  /** TCP, of a load balancer: peers. */
  balancerPeers: 50050,
  /** UDP and TCP, of a rendezvous server: peers. Worker i of a host uses this + i. */
  serverPeers: 4433,
  /** TCP, of both: the cluster among itself. Worker i of a host uses this + i. */
  cluster: 50051,
  /** TCP, of both, on loopback: operators. Worker i of a host uses this + i. */
  operations: 9464,
} as const;
