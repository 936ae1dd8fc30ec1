import type { Address } from '../base/address.ts';
import { ChattyError } from '../base/errors.ts';
import type { rendezvousSchema } from '../config/schemas.ts';
import type { ValuesOf } from '../config/setting.ts';

type Values = ValuesOf<typeof rendezvousSchema>;

const MAX_PORT = 65_535;

/**
 * The settings of worker `index`: a server of its own on every port + `index`. Port 0 stays 0: any.
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
  const { listen, clusterListen, advertise, clusterAdvertise, operationsListen } = values;
  return {
    ...values,
    listen: listen.map(shift),
    clusterListen: clusterListen.map(shift),
    advertise: advertise.map(shift),
    clusterAdvertise: clusterAdvertise.map(shift),
    operationsListen: operationsListen === 'off' ? 'off' : shift(operationsListen),
    processes: 1,
  };
}
