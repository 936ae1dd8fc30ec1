import type { Instance } from '@cdktf/provider-aws/lib/instance/index.js';
import { Route53Record } from '@cdktf/provider-aws/lib/route53-record/index.js';
import { Route53Zone } from '@cdktf/provider-aws/lib/route53-zone/index.js';
import { Construct } from 'constructs';
import { replacementOf } from './node.ts';

/** In seconds. Servers ask every 10 s. */
const TTL = 5;

export interface NamesOptions {
  readonly name: string;
  readonly vpcId: string;
}

/**
 * One name behind which all load balancers stand, for servers: by it they find balancers that come
 * later. It is told by hosts' private addresses, since the firewall knows a host by no other.
 */
export class Names extends Construct {
  readonly balancers: string;
  readonly #zone: Route53Zone;

  constructor(scope: Construct, id: string, { name, vpcId }: NamesOptions) {
    super(scope, id);
    this.#zone = new Route53Zone(this, 'zone', {
      name: `${name}.internal`,
      comment: 'Chatty: how servers find load balancers',
      forceDestroy: true,
      vpc: [{ vpcId }],
    });
    this.balancers = `lb.${name}.internal`;
  }

  /**
   * Adds a balancer. While it is replaced, the old and the new one both stand behind the name, since
   * each has a record of its own.
   */
  addBalancer(id: string, host: Instance): Route53Record {
    return new Route53Record(this, id, {
      zoneId: this.#zone.zoneId,
      name: this.balancers,
      type: 'A',
      ttl: TTL,
      records: [host.privateIp],
      multivalueAnswerRoutingPolicy: true,
      setIdentifier: host.id,
      lifecycle: { createBeforeDestroy: true, replaceTriggeredBy: [replacementOf(host)] },
    });
  }
}
