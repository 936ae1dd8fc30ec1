/** Begins the names of the namespaces of rehearsals. */
export const REHEARSAL = 'rehearse';

/** What a command line begins with that is to run in this network namespace, all else unchanged. */
export function inside(namespace: string): readonly [command: string, ...args: string[]] {
  return ['nsenter', `--net=/run/netns/${namespace}`];
}
