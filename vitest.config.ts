import { defineConfig } from 'vitest/config';

const report = process.env['CHATTY_TEST_REPORT'];

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real sockets, processes and a native library: separate processes, so that one suite cannot
    // disturb another; two at a time, as many as CI has cores.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
});
