import type { Instance } from '@cdktf/provider-aws/lib/instance/index.js';
import { SsmAssociation } from '@cdktf/provider-aws/lib/ssm-association/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { replacementOf } from './node.ts';

/** How long a host may take from its start until it serves, in seconds. */
const SERVES_WITHIN = 900;
/** A new host is heard of by Systems Manager a while after its start; in seconds. */
const HEARD_OF_WITHIN = 600;

export interface ReadinessOptions {
  readonly host: Instance;
  /** What `chatty-ready` on the host is asked. */
  readonly question: readonly string[];
  /** Hosts whose replacement makes the question a new one. */
  readonly concerning: readonly Instance[];
  readonly dependsOn?: readonly ITerraformDependable[];
}

/**
 * A gate that opens once a host serves: Systems Manager runs `chatty-ready` there until it succeeds.
 * Everything that goes on only then, like the end of the host it replaces, comes after the gate.
 */
export class Readiness extends Construct {
  readonly gate: ITerraformDependable;

  constructor(scope: Construct, id: string, options: ReadinessOptions) {
    super(scope, id);
    const { host, question, concerning, dependsOn = [] } = options;
    const ask = ['/usr/local/sbin/chatty-ready', ...question].join(' ');
    this.gate = new SsmAssociation(this, 'gate', {
      name: 'AWS-RunShellScript',
      targets: [{ key: 'InstanceIds', values: [host.id] }],
      parameters: {
        commands: `timeout ${SERVES_WITHIN} sh -c 'until ${ask}; do sleep 2; done'`,
        executionTimeout: String(SERVES_WITHIN),
      },
      waitForSuccessTimeoutSeconds: SERVES_WITHIN + HEARD_OF_WITHIN,
      dependsOn: [...dependsOn],
      lifecycle: {
        createBeforeDestroy: true,
        // Terraform waits for the answer only when it makes a gate, not when it changes one.
        replaceTriggeredBy: [host, ...concerning].map(replacementOf),
      },
    });
  }
}
