import type { Server, ServerUnaryCall } from '@grpc/grpc-js';
import { canonicalIp } from '../base/address.ts';
import { ChattyError, reasonOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Address as WireAddress, Protocol } from '../rpc/generated/chatty/v1/common.ts';
import {
  type DeregisterRequest,
  type DeregisterResponse,
  type GetServersRequest,
  LoadBalancerServiceService,
  type RegisterRequest,
  type RegisterResponse,
  RegistrationServiceService,
} from '../rpc/generated/chatty/v1/loadbalancer.ts';
import { negotiate, OWN_PROTOCOL } from '../rpc/protocol.ts';
import { unaryHandler } from '../rpc/unary-handler.ts';
import { addressToWire } from '../rpc/wire-address.ts';
import { HandOutBytes } from './hand-out-bytes.ts';
import { isMemberId, memberFromWire, memberToWire } from './member.ts';
import type { RegistryRunner } from './registry-runner.ts';

export interface ServiceContext {
  readonly runner: RegistryRunner;
  /** The balancer's own peer addresses, known once it listens. */
  readonly advertised: () => readonly string[];
  readonly leaseMs: number;
  /** Counts peers' questions by whether there was a server to name. */
  readonly handOuts: Record<'servers' | 'none', number>;
  readonly logger: Logger;
}

/** What peers ask. */
export function addPeerService(server: Server, context: ServiceContext): void {
  const { runner, advertised, handOuts } = context;
  const answers = new HandOutBytes();
  const getServers = ({ request }: ServerUnaryCall<GetServersRequest, Buffer>): Buffer => {
    agree(request.protocol, 'peer');
    const handOut = runner.handOut();
    handOuts[handOut === undefined ? 'none' : 'servers'] += 1;
    if (handOut === undefined) {
      throw new ChattyError('CHATTY_NO_SERVER', 'no rendezvous server is up at the moment', {
        hint: 'Try again in a few seconds; whoever runs the cluster may have to start a server.',
      });
    }
    const own = new Set(advertised());
    const others = handOut.balancers.filter((balancer) => !own.has(balancer));
    return answers.of(handOut, others);
  };
  const method = {
    ...LoadBalancerServiceService.getServers,
    responseSerialize: (bytes: Buffer): Buffer => bytes,
  };
  const handler = unaryHandler(getServers, onFault(context.logger, 'GetServers'));
  server.addService({ getServers: method }, { getServers: handler });
}

/** What rendezvous servers ask. */
export function addRegistrationService(server: Server, context: ServiceContext): void {
  const { runner, advertised, leaseMs, logger } = context;

  const register = async (
    call: ServerUnaryCall<RegisterRequest, RegisterResponse>,
  ): Promise<RegisterResponse> => {
    const { request } = call;
    agree(request.protocol, 'server');
    const observed = sourceOf(call.getPeer());
    const read = memberFromWire(request.member, observed?.host);
    if ('fault' in read) {
      throw new ChattyError('CHATTY_PROTOCOL', `the registration is not valid: ${read.fault}`);
    }
    const answer = await runner.register(read.member, request.knownLoadBalancers);
    return {
      protocol: OWN_PROTOCOL,
      members: answer.members.map(memberToWire),
      listed: answer.listed,
      notListedBecause: answer.reason,
      advertised: [...advertised()],
      leaseMs,
      observed: observed?.wire,
    };
  };

  const deregister = ({ request }: ServerUnaryCall<DeregisterRequest, DeregisterResponse>) => {
    if (!isMemberId(request.id)) {
      throw new ChattyError('CHATTY_PROTOCOL', 'the id is not 32 hexadecimal digits');
    }
    runner.deregister(request.id, request.incarnation);
    return {};
  };

  server.addService(RegistrationServiceService, {
    register: unaryHandler(register, onFault(logger, 'Register')),
    deregister: unaryHandler(deregister, onFault(logger, 'Deregister')),
  });
}

export function agree(protocol: Protocol | undefined, remoteRole: string): void {
  const agreed = negotiate(protocol, remoteRole);
  if ('fault' in agreed) throw new ChattyError('CHATTY_VERSION', agreed.fault.message);
}

/** The IP address in gRPC's text for the other end, `IP:PORT` without brackets. */
function sourceOf(peer: string): { host: string; wire: WireAddress } | undefined {
  const host = canonicalIp(peer.slice(0, peer.lastIndexOf(':')));
  try {
    return { host, wire: addressToWire({ host, port: 0 }) };
  } catch {
    return undefined;
  }
}

export function onFault(logger: Logger, call: string): (error: unknown) => void {
  return (error) => {
    const fields = { call, reason: reasonOf(error) };
    if (error instanceof ChattyError) logger.debug('refused a call', fields);
    else logger.error('a call failed', fields);
  };
}
