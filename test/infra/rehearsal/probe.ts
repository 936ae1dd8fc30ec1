/** A question to a port of a host, and how it went. */
export type Probe = { protocol: 'tcp' | 'udp'; address: string; port: number };

/**
 * `open`: somebody answered. `refused`: the packet arrived, and nobody listens there. `silent`: it
 * vanished, as a security group lets it.
 */
export type ProbeResult = 'open' | 'refused' | 'silent';
