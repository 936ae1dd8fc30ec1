/** The load balancer's times and limits; every time in milliseconds. */
export interface LoadBalancerSettings {
  /** Between two rounds of health checks. */
  readonly checkIntervalMs: number;
  /** How long a server has to answer a round's check. */
  readonly checkDeadlineMs: number;
  /**
   * How long a registration's first check, and the second opinion on a silent server, may take: both
   * are on a new connection, so long enough for TCP to send a lost packet again (RFC 6298: first
   * after 1 s), and short enough that a silent server is out within 8 s: interval + check + this.
   */
  readonly recheckDeadlineMs: number;
  /** How long another server has to be told something before a third is asked. */
  readonly notifyDeadlineMs: number;
  /** How long a registration is valid: three heartbeats of 5 s. */
  readonly leaseMs: number;
  /** How long the balancer believes at most that all servers' silence is its own fault. */
  readonly distrustMs: number;
  /** More servers than this are not registered. */
  readonly maxMembers: number;
}

export const DEFAULT_SETTINGS: LoadBalancerSettings = {
  checkIntervalMs: 5_000,
  checkDeadlineMs: 500,
  recheckDeadlineMs: 1_500,
  notifyDeadlineMs: 2_000,
  leaseMs: 15_000,
  distrustMs: 60_000,
  maxMembers: 1_000,
};
