import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Address, formatAddress } from '../base/address.ts';
import { reasonOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Metrics } from './metrics.ts';

/** Scrapers and probes are few; who opens more waits for nothing. */
const MAX_CONNECTIONS = 64;
const REQUEST_WITHIN_MS = 5_000;
const MAX_HEADER_BYTES = 8_192;

/**
 * What operators' tools ask a daemon, over plain HTTP on loopback: `/metrics` for Prometheus,
 * `/healthz` (200 while the program runs) and `/readyz` (200 while it serves, else 503).
 */
export class OperationsServer {
  /** Set while the daemon serves. */
  ready = false;
  /** Where it listens; undefined where it could not. */
  address: Address | undefined;
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  readonly #server: Server;

  private constructor(metrics: Metrics, logger: Logger) {
    this.#metrics = metrics;
    this.#logger = logger;
    this.#server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_WITHIN_MS },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /**
   * Listens, if it can: a daemon does not end for want of somebody to tell how it is. That it
   * cannot is logged.
   */
  static async listen(
    wanted: Address,
    metrics: Metrics,
    logger: Logger,
  ): Promise<OperationsServer> {
    const operations = new OperationsServer(metrics, logger);
    const server = operations.#server;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host: wanted.host, port: wanted.port }, resolve);
      });
    } catch (error) {
      const fields = { address: formatAddress(wanted), reason: reasonOf(error) };
      logger.warn('no metrics: cannot listen for operators', fields);
      return operations;
    }
    server.on('error', () => undefined);
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : wanted.port;
    operations.address = { host: wanted.host, port };
    return operations;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const reply = (
      status: number,
      body: string,
      contentType = 'text/plain; charset=utf-8',
    ): void => {
      response.writeHead(status, { 'content-type': contentType });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      reply(405, 'ask with GET\n');
      return;
    }
    switch (request.url?.split('?', 1)[0]) {
      case '/healthz':
        reply(200, 'ok\n');
        return;
      case '/readyz':
        if (this.ready) reply(200, 'ready\n');
        else reply(503, 'not ready\n');
        return;
      case '/metrics':
        try {
          const { contentType, body } = await this.#metrics.text();
          reply(200, body, contentType);
        } catch (error) {
          this.#logger.error('the metrics could not be read', { reason: reasonOf(error) });
          reply(500, 'the metrics could not be read\n');
        }
        return;
      default:
        reply(404, 'there are /metrics, /healthz and /readyz\n');
    }
  }
}
