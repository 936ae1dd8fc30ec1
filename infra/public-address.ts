import { EipAssociation } from '@cdktf/provider-aws/lib/eip-association/index.js';
import { Eip } from '@cdktf/provider-aws/lib/eip/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';

export interface PublicAddressOptions {
  readonly name: string;
  readonly dependsOn: readonly ITerraformDependable[];
}

/** An IPv4 address that stays the same whatever host answers there. */
export class PublicAddress extends Construct {
  readonly address: string;
  readonly #allocation: Eip;

  constructor(scope: Construct, id: string, { name, dependsOn }: PublicAddressOptions) {
    super(scope, id);
    this.#allocation = new Eip(this, 'ip', {
      domain: 'vpc',
      tags: { Name: name },
      dependsOn: [...dependsOn],
    });
    this.address = this.#allocation.publicIp;
  }

  /** Leads to a host, as soon as that serves. */
  leadTo(instanceId: string, once: readonly ITerraformDependable[]): void {
    new EipAssociation(this, 'host', {
      allocationId: this.#allocation.id,
      instanceId,
      // The address goes from the old host to the new one in one step.
      allowReassociation: true,
      dependsOn: [...once],
      lifecycle: { createBeforeDestroy: true },
    });
  }
}
