/**
 * `npx tsx test/bench/product.ts [--quick] [--json FILE]`: what a user and an operator feel, between
 * processes on loopback.
 */
import { createClusterCa, issueCertificate } from '../../src/base/certificate.ts';
import { RENDEZVOUS_NAME } from '../../src/base/role-names.ts';
import { measureWaiting } from './product/waiting.ts';
import { report, writeRows } from './report.ts';

const quick = process.argv.includes('--quick');
const ca = await createClusterCa();
const tls = { caPem: ca.certPem, identity: await issueCertificate(ca, RENDEZVOUS_NAME) };

const rows = quick
  ? await measureWaiting(tls, 2_000, 50, 2_000)
  : await measureWaiting(tls, 10_000, 300, 15_000);

report(rows);
writeRows(rows);
