import type { Server, ServerUnaryCall } from '@grpc/grpc-js';
import {
  OperationsServiceService,
  ServerState,
  type ServerStatus,
  type StatusRequest,
  type StatusResponse,
} from '../rpc/generated/chatty/v1/operations.ts';
import { OWN_PROTOCOL } from '../rpc/protocol.ts';
import { unaryHandler } from '../rpc/unary-handler.ts';
import { memberToWire } from './member.ts';
import type { ServerView } from './roster.ts';
import { agree, onFault, type ServiceContext } from './services.ts';

/** What the paths of its methods begin with. */
export const OPERATIONS_PATH = '/chatty.v1.OperationsService/';

const STATES: Readonly<Record<ServerView['state'], ServerState>> = {
  starting: ServerState.SERVER_STATE_STARTING,
  listed: ServerState.SERVER_STATE_LISTED,
  suspect: ServerState.SERVER_STATE_SUSPECT,
};

/** What operators ask: the cluster as this balancer sees it. */
export function addOperationsService(server: Server, context: ServiceContext): void {
  const { runner, advertised, logger } = context;
  const status = ({ request }: ServerUnaryCall<StatusRequest, StatusResponse>): StatusResponse => {
    agree(request.protocol, 'operator');
    const { servers, doubtsItself } = runner.view();
    return {
      protocol: OWN_PROTOCOL,
      advertised: [...advertised()],
      servers: servers.map(statusOf),
      doubtsItself,
    };
  };
  server.addService(OperationsServiceService, {
    status: unaryHandler(status, onFault(logger, 'Status')),
  });
}

function statusOf({
  member,
  state,
  lastCheck,
  renewedAgoMs,
  leaseLeftMs,
}: ServerView): ServerStatus {
  return {
    member: memberToWire(member),
    state: STATES[state],
    lastCheck: lastCheck && { result: lastCheck.outcome, msAgo: whole(lastCheck.agoMs) },
    renewedMsAgo: whole(renewedAgoMs),
    leaseLeftMs: whole(leaseLeftMs),
  };
}

/** As the wire takes it: a whole number that is not negative. */
function whole(ms: number): number {
  return Math.max(0, Math.round(ms));
}
