import { DefaultPort } from '../src/base/default-ports.ts';
import { MAX_PROCESSES } from './settings.ts';

/** Ports, the first and the last. */
export type PortRange = readonly [first: number, last: number];

const workers = (first: number): PortRange => [first, first + MAX_PROCESSES - 1];

/** TCP, of a balancer. */
export const BALANCER_PEERS: PortRange = [DefaultPort.balancerPeers, DefaultPort.balancerPeers];
/** TCP, of a balancer. */
export const BALANCER_CLUSTER: PortRange = [DefaultPort.cluster, DefaultPort.cluster];
/** UDP and TCP, of a server host: worker i has the first + i. */
export const SERVER_PEERS: PortRange = workers(DefaultPort.serverPeers);
/** UDP and TCP, of a server host's worker 0: for networks that let nothing else out. */
export const SERVER_WEB: PortRange = [443, 443];
/** TCP, of a server host: worker i has the first + i. */
export const SERVER_CLUSTER: PortRange = workers(DefaultPort.cluster);
