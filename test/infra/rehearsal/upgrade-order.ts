import type { CloudEvent } from '../fake-aws/fake-aws.ts';

/** The instances of one role before and after an upgrade. */
export type Generation = {
  role: 'balancer' | 'server';
  old: readonly string[];
  new: readonly string[];
};

/**
 * What is wrong with the order in which an upgrade did things; nothing where it was as it has to be:
 * every new host is ready before any old one of its role begins to end; a balancer's address moves
 * once its new host is ready, and its old host ends only then.
 */
export function disorder(
  events: readonly CloudEvent[],
  generations: readonly Generation[],
): string[] {
  const first = (event: string, subject: string): number => {
    const index = events.findIndex((one) => one.event === event && one.subject === subject);
    return index < 0 ? Number.POSITIVE_INFINITY : index;
  };
  const before = (a: number, b: number, message: string): string[] => (a < b ? [] : [message]);
  return generations.flatMap(({ role, old, new: young }) => {
    const ready = young.map((id) => ({ id, at: first('gate passed', id) }));
    const ends = old.map((id) => ({ id, at: first('ec2 TerminateInstances', id) }));
    const moves =
      role === 'server' ? [] : young.map((id) => ({ id, at: first('ec2 AssociateAddress', id) }));
    return [
      ...ready
        .filter(({ at }) => at === Number.POSITIVE_INFINITY)
        .map(({ id }) => `the gate of ${id} was never passed`),
      ...ends
        .filter(({ at }) => at === Number.POSITIVE_INFINITY)
        .map(({ id }) => `the old ${role} ${id} was never ended`),
      ...ends.flatMap((end) =>
        ready.flatMap((one) =>
          before(
            one.at,
            end.at,
            `the old ${role} ${end.id} was ended before the new ${one.id} was ready`,
          ),
        ),
      ),
      ...moves.flatMap((move) => [
        ...before(
          first('gate passed', move.id),
          move.at,
          `an address moved to ${move.id} before that was ready`,
        ),
        ...ends.flatMap((end) =>
          before(
            move.at,
            end.at,
            `the old ${role} ${end.id} was ended before the addresses had moved`,
          ),
        ),
      ]),
    ];
  });
}
