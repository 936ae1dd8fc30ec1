import { X509Certificate } from 'node:crypto';
import { LOAD_BALANCER_NAME, RENDEZVOUS_NAME } from '../base/role-names.ts';

/** What a program of the cluster is; its certificate says so by DNS name, never by address. */
export type Role = 'loadbalancer' | 'rendezvous';

export const ROLES: readonly Role[] = ['loadbalancer', 'rendezvous'];

const NAMES: Readonly<Record<Role, string>> = {
  loadbalancer: LOAD_BALANCER_NAME,
  rendezvous: RENDEZVOUS_NAME,
};

/** The DNS name that the certificates of `role` carry. */
export function roleName(role: Role): string {
  return NAMES[role];
}

/** Whether `certificate` carries the DNS name of `role` as subject alternative name. */
export function carriesRole(certificate: X509Certificate, role: Role): boolean {
  const name = roleName(role);
  return certificate.checkHost(name, { subject: 'never', wildcards: false }) === name;
}

/**
 * The role that the caller's certificate proves; the connection has verified the certificate
 * against the cluster's CA. @param call a gRPC server call.
 * @returns undefined where there is no certificate or none of ours.
 */
export function callerRole(call: {
  getAuthContext(): { sslPeerCertificate?: { raw?: Uint8Array } | undefined };
}): Role | undefined {
  const der = call.getAuthContext().sslPeerCertificate?.raw;
  if (der === undefined) return undefined;
  const certificate = new X509Certificate(der);
  return ROLES.find((role) => carriesRole(certificate, role));
}
