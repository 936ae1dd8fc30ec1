/** What a host does; also the end of its program's name, and its certificate's file name. */
export const ROLES = ['loadbalancer', 'rendezvous'] as const;
export type Role = (typeof ROLES)[number];
