import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const report = process.env['CHATTY_TEST_REPORT'];

export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/nat/*.lab.ts'],
    pool: 'forks',
    // One laboratory: its files run one after the other, so that figures are of a quiet machine.
    maxWorkers: 1,
    maxConcurrency: 24,
    testTimeout: 180_000 + 60_000 * Number(process.env['NAT_RUNS'] ?? 0),
    hookTimeout: 120_000,
    reporters: report === undefined ? ['verbose'] : ['verbose', ['json', { outputFile: report }]],
  },
});
