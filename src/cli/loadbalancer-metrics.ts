import type { LoadBalancer } from '../loadbalancer/load-balancer.ts';
import type { Metrics } from './metrics.ts';

/** What a load balancer has to show for itself. */
export function measureLoadBalancer(metrics: Metrics, balancer: LoadBalancer): void {
  metrics.gauges(
    'chatty_members',
    'Registered rendezvous servers, by state.',
    'state',
    () => balancer.stats.servers,
  );
  metrics.counters(
    'chatty_health_checks_total',
    'Health checks of rendezvous servers, by result.',
    'result',
    () => balancer.stats.checks,
  );
  metrics.counters(
    'chatty_hand_outs_total',
    'Questions of peers for a server, by whether there was one to name.',
    'result',
    () => balancer.stats.handOuts,
  );
  metrics.gauge(
    'chatty_self_distrust',
    '1 while every server is silent and this balancer takes its own network for broken, else 0.',
    () => (balancer.stats.doubtsItself ? 1 : 0),
  );
}
