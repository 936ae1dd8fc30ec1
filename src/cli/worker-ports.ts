import type { Address } from '../base/address.ts';
import { ChattyError } from '../base/errors.ts';
import type { rendezvousSchema } from '../config/schemas.ts';
import type { ValuesOf } from '../config/setting.ts';

type Values = ValuesOf<typeof rendezvousSchema>;

const MAX_PORT = 65_535;
/** Ports below are well known, each for one service: 443 beside others is for whom only it is let out. */
const FIRST_UNPRIVILEGED_PORT = 1024;

/**
 * The settings of worker `index`: a server of its own on every port + `index`. Port 0 stays 0: any.
 * A well-known port beside others is worker 0's alone.
 * @throws ChattyError CHATTY_CONFIG where there is no such port.
 */
export function workerValues(values: Values, index: number): Values {
  const shift = ({ host, port }: Address): Address => {
    if (port === 0) return { host, port };
    if (port + index <= MAX_PORT) return { host, port: port + index };
    throw new ChattyError(
      'CHATTY_CONFIG',
      `there is no port ${port} + ${index} for worker ${index}: worker i uses every port + i`,
      { hint: 'Name lower ports, or fewer processes.' },
    );
  };
  const own = (addresses: readonly Address[]): Address[] => {
    const high = addresses.filter(({ port }) => port === 0 || port >= FIRST_UNPRIVILEGED_PORT);
    return (index === 0 || high.length === 0 ? addresses : high).map(shift);
  };
  const { listen, clusterListen, advertise, clusterAdvertise, operationsListen } = values;
  return {
    ...values,
    listen: own(listen),
    clusterListen: clusterListen.map(shift),
    advertise: own(advertise),
    clusterAdvertise: clusterAdvertise.map(shift),
    operationsListen: operationsListen === 'off' ? 'off' : shift(operationsListen),
    processes: 1,
  };
}
