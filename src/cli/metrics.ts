import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

type Values = Readonly<Record<string, number>>;

const NS_PER_S = 1e9;
const MS_PER_S = 1e3;
/** How often the event loop's lag is sampled. */
const LAG_RESOLUTION_MS = 10;
const LAG_QUANTILES = [0.5, 0.99, 1];

/** From what a turn of the event loop takes to what people notice. */
const LATENCY_BUCKETS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];

/**
 * What a daemon measures, for Prometheus. Gauges and counters are read from the program when they
 * are asked for, so that measuring costs nothing in between; names follow
 * https://prometheus.io/docs/practices/naming, and no label ever holds a peer's name or address.
 */
export class Metrics {
  readonly #registry = new Registry();

  /** With the figures of the process itself: memory, CPU, garbage collection, event-loop lag. */
  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    const delay = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
    delay.enable();
    const help = 'How late the event loop was, since the last time this was asked, by quantile.';
    this.gauges('chatty_event_loop_lag_seconds', help, 'quantile', () => {
      const lags = LAG_QUANTILES.map((quantile) => {
        // It measures its own interval along.
        const seconds = delay.percentile(quantile * 100) / NS_PER_S - LAG_RESOLUTION_MS / MS_PER_S;
        return [String(quantile), Math.max(0, seconds)] as const;
      });
      delay.reset();
      return Object.fromEntries(lags);
    });
  }

  /** One gauge. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      ...{ name, help, registers: [this.#registry] },
      collect() {
        this.set(read());
      },
    });
  }

  /** A gauge for each value of a label. */
  gauges(name: string, help: string, label: string, read: () => Values): void {
    new Gauge({
      ...{ name, help, labelNames: [label], registers: [this.#registry] },
      collect() {
        this.reset();
        for (const [key, value] of Object.entries(read())) this.set({ [label]: key }, value);
      },
    });
  }

  /** A counter, kept by the program, for each value of a label. */
  counters(name: string, help: string, label: string, read: () => Values): void {
    new Counter({
      ...{ name, help, labelNames: [label], registers: [this.#registry] },
      collect() {
        this.reset();
        for (const [key, value] of Object.entries(read())) this.inc({ [label]: key }, value);
      },
    });
  }

  /** A counter, kept by the program. */
  total(name: string, help: string, read: () => number): void {
    new Counter({
      ...{ name, help, registers: [this.#registry] },
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  /** A counter that is kept here. @returns what counts one more. */
  counter(name: string, help: string): () => void {
    const counter = new Counter({ name, help, registers: [this.#registry] });
    return () => counter.inc();
  }

  /** A histogram of latencies. @returns what takes one in, in milliseconds. */
  latency(name: string, help: string): (ms: number) => void {
    const histogram = new Histogram({
      ...{ name, help, buckets: LATENCY_BUCKETS_S, registers: [this.#registry] },
    });
    return (ms) => histogram.observe(ms / MS_PER_S);
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }
}
