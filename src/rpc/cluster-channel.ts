import {
  type ChannelCredentials,
  type ChannelOptions,
  type ClientOptions,
  credentials,
} from '@grpc/grpc-js';
import { type Address, formatAddress } from '../base/address.ts';
import { type Role, roleName } from './role.ts';
import type { ClusterTls } from './tls-files.ts';

type ClientConstructor<Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => Client;

/**
 * A client for the cluster plane of the program at `address`: mutual TLS, the cluster's CA as the
 * only root, and the certificate must be one of `role`. Connects when first used and again by itself;
 * whoever makes it closes it.
 * @param options what differs from `channelOptions`.
 */
export function clientFor<Client>(
  constructor: ClientConstructor<Client>,
  address: Address,
  tls: ClusterTls,
  role: Role,
  options: ChannelOptions = {},
): Client {
  const channel = credentials.createSsl(
    Buffer.from(tls.caPem),
    Buffer.from(tls.identity.keyPem),
    Buffer.from(tls.identity.certPem),
  );
  return new constructor(formatAddress(address), channel, { ...channelOptions(role), ...options });
}

/** How every channel of ours behaves towards a program of `role`. */
export function channelOptions(role: Role): ChannelOptions {
  return {
    'grpc.ssl_target_name_override': roleName(role),
    'grpc.default_authority': roleName(role),
    // A proxy in the environment is for browsing; the cluster's addresses are meant literally.
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_channelz': 0,
    // Nothing is shared between clients, so that closing one closes its connection, and a new one
    // never inherits another's back-off or half-open connection.
    'grpc.use_local_subchannel_pool': 1,
    // A restarted program is found again within about a second.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    // Half-open connections are noticed within 8 s, also while nothing is asked.
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 3_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
  };
}
