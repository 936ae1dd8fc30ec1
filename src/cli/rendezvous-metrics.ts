import type { RelayStats } from '../rendezvous/relay-table.ts';
import type { RendezvousObserver, RendezvousServer } from '../rendezvous/rendezvous-server.ts';
import type { Metrics } from './metrics.ts';

/** A gauge is a double, which holds 53 bits; of the checksum's 64 the upper 52 are shown. */
const HIDDEN_BITS = 12n;

/** What a rendezvous server tells as it happens. */
export function observeRendezvous(metrics: Metrics): RendezvousObserver {
  const matched = metrics.counter(
    'chatty_matches_total',
    'Friends that peers registered here were told of for the first time.',
  );
  const latency = metrics.latency(
    'chatty_match_latency_seconds',
    'From when two peers had named each other to when the one here was told, by the calendars of the servers.',
  );
  const lag = metrics.latency(
    'chatty_replication_lag_seconds',
    'From a change at another server to when it was heard here, by the calendars of both.',
  );
  return {
    introduced: (afterMs) => {
      matched();
      latency(afterMs);
    },
    heard: lag,
  };
}

/** What a rendezvous server has to show for itself. */
export function measureRendezvous(metrics: Metrics, server: RendezvousServer): void {
  metrics.gauge('chatty_peers_waiting', 'Peers registered here.', () => server.stats.waiting);
  metrics.gauge(
    'chatty_table_records',
    'Records of the peer table: the registrations of all servers.',
    () => server.stats.records,
  );
  metrics.gauge(
    'chatty_table_checksum',
    'A checksum of the peer table: equal on servers whose tables hold the same, 0 for an empty one.',
    () => Number(server.tableChecksum >> HIDDEN_BITS),
  );
  metrics.gauges(
    'chatty_members',
    'Other rendezvous servers, by state.',
    'state',
    () => server.stats.members,
  );
  metrics.counters(
    'chatty_registrations_total',
    'Registrations that peers asked for, by result.',
    'result',
    () => server.stats.registrations,
  );
  metrics.counters(
    'chatty_handshakes_total',
    'QUIC handshakes of peers that are over, by result.',
    'result',
    () => ({ ...server.stats.port.handshakes }),
  );
  metrics.counters(
    'chatty_datagrams_dropped_total',
    'Datagrams that nobody was found for, by reason.',
    'reason',
    () => ({ ...server.stats.port.dropped }),
  );
  metrics.gauge(
    'chatty_tunnels',
    'Tunnels over TCP that are open, of peers whose networks let no UDP through.',
    () => server.stats.port.tunnels.open,
  );
  metrics.total(
    'chatty_tunnel_datagrams_dropped_total',
    'Datagrams for peers whose tunnels were too slow.',
    () => server.stats.port.tunnels.dropped,
  );
  if (server.stats.relay !== undefined) measureRelay(metrics, () => server.stats.relay);
}

/** What is passed on for peers who cannot reach each other. */
function measureRelay(metrics: Metrics, read: () => RelayStats | undefined): void {
  metrics.gauge(
    'chatty_relay_pairs',
    'Pairs of peers that may be relayed here; most never need it.',
    () => read()?.pairs ?? 0,
  );
  metrics.total(
    'chatty_relay_datagrams_total',
    'Datagrams relayed from one peer to another.',
    () => read()?.relayedDatagrams ?? 0,
  );
  metrics.total(
    'chatty_relay_bytes_total',
    'Bytes of these datagrams, with 10 of ours in each.',
    () => read()?.relayedBytes ?? 0,
  );
  metrics.counters(
    'chatty_relay_dropped_total',
    'Relay frames that came to nothing, by reason; rate, bytes and time are a pair’s limits, server is that of all.',
    'reason',
    () => ({ ...read()?.dropped }),
  );
  metrics.counters(
    'chatty_relay_binds_total',
    'Frames by which peers said where they are, by what came of them.',
    'result',
    () => ({ ...read()?.binds }),
  );
}
