import type { NativeConfig, Quiche } from './native.ts';
import { tlsConfig, type TlsOptions } from './tls-config.ts';

/** The longest datagram of a carried connection: with a relay's header it fits links of 1,280. */
export const CARRIED_DATAGRAM_BYTES = 1200;

/** The quiche configurations of one endpoint: one for each list of protocols, plain and carried. */
export class NativeConfigs {
  readonly #quiche: Quiche;
  readonly #options: Omit<TlsOptions, 'alpn' | 'carried'>;
  readonly #byKey = new Map<string, NativeConfig>();

  /** @param options - `maxDatagramBytes` is that of plain connections. */
  constructor(quiche: Quiche, options: Omit<TlsOptions, 'alpn' | 'carried'>) {
    this.#quiche = quiche;
    this.#options = options;
  }

  get(alpn: readonly string[], carried: boolean): NativeConfig {
    const key = `${carried} ${alpn.join(' ')}`;
    let config = this.#byKey.get(key);
    if (config === undefined) {
      const plainBytes = this.#options.maxDatagramBytes;
      const maxDatagramBytes = carried ? CARRIED_DATAGRAM_BYTES : plainBytes;
      config = tlsConfig(this.#quiche, { ...this.#options, alpn, carried, maxDatagramBytes });
      this.#byKey.set(key, config);
    }
    return config;
  }
}
