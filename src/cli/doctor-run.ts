import { systemClock } from '../base/clock.ts';
import { parseBalancerAddress } from '../base/balancer-address.ts';
import { ChattyError, ExitCode } from '../base/errors.ts';
import { stripControl } from '../base/name.ts';
import { systemRandom } from '../base/random.ts';
import { BalancerStore } from '../peer/balancer-store.ts';
import { noServerError } from '../peer/discovery.ts';
import { surveyNetwork } from '../peer/network-survey.ts';
import { BalancerTrustBook, readCaFile } from '../peer/trust.ts';
import { requireBalancers } from './chat-command.ts';
import { describeDiagnosis } from './diagnosis-text.ts';
import { diagnose } from './network-diagnosis.ts';
import type { Context } from './program.ts';

interface DoctorSettings {
  readonly loadBalancers: readonly string[];
  readonly caFile: string | undefined;
  readonly strict: boolean;
  readonly state: string;
  readonly json: boolean;
  /** Whether the router may be asked for a port. */
  readonly portMapping: boolean;
}

/**
 * Finds out what this computer's network does, and prints it.
 * @returns the exit code: 69 where no server answers, by UDP or TCP.
 * @throws ChattyError where no load balancer names a server.
 */
export async function runDoctor(settings: DoctorSettings, context: Context): Promise<number> {
  const { io, signal, logger } = context;
  const caPem = settings.caFile === undefined ? undefined : await readCaFile(settings.caFile);
  const loadBalancers = (await requireBalancers(settings)).map((text) => {
    const address = parseBalancerAddress(text);
    if (address === undefined) throw new ChattyError('CHATTY_USAGE', `${text} is no load balancer`);
    return address;
  });
  const trust = await BalancerTrustBook.open({
    loadBalancers,
    caPem,
    strict: settings.strict,
    store: new BalancerStore(settings.state),
    onStoreError: (error) => logger.warn('not stored', { reason: error.message }),
  });
  const survey = await surveyNetwork({
    clock: systemClock,
    random: systemRandom,
    signal,
    portMapping: settings.portMapping,
    discovery: {
      loadBalancers,
      learned: trust.learned,
      trustFor: (address) => trust.trustFor(address),
      answered: (address, answer) => trust.answered(address, answer),
    },
  });
  await trust.flush();
  if (survey.answers.length === 0) throw noServerError(survey.failures);
  const diagnosis = diagnose(survey);
  const text = settings.json
    ? JSON.stringify(diagnosis)
    : describeDiagnosis(diagnosis).map(stripControl).join('\n');
  io.stdout.write(`${text.trimEnd()}\n`);
  const isCutOff = diagnosis.udp === 'blocked' && diagnosis.tunnel !== true;
  return isCutOff ? ExitCode.noServer : ExitCode.done;
}
