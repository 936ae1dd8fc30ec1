import { ACCOUNT } from './ec2-network.ts';
import type { Instance, Instances, Machines } from './ec2-instances.ts';
import { AwsError } from './query.ts';

/** The image that the public parameters name. */
const IMAGE_ID = 'ami-0c0ffee0c0ffee000';
const PUBLIC = '/aws/service/ami-amazon-linux-latest/';

type Parameter = {
  Name: string;
  Type: string;
  Value: string;
  Version: number;
  tier: string;
  description: string | undefined;
};
type Association = {
  AssociationId: string;
  Name: string;
  Targets: { Key: string; Values: string[] }[];
  Parameters: Record<string, string[]>;
  status: 'Pending' | 'Success' | 'Failed';
  AssociationName: string | undefined;
  version: number;
};
type Tag = { Key: string; Value: string };
type Body = Record<string, unknown>;

/** SSM: parameters, and associations that run a script on instances. */
export class Ssm {
  readonly parameters = new Map<string, Parameter>();
  readonly associations = new Map<string, Association>();
  readonly #tags = new Map<string, Tag[]>();
  readonly #instances: Instances;
  readonly #machines: Machines;
  readonly #region: string;
  readonly #note: (event: string, subject: string, detail: string) => void;
  #made = 0;

  /** `note` is told how the scripts ended. */
  constructor(
    instances: Instances,
    machines: Machines,
    region: string,
    note: (event: string, subject: string, detail: string) => void,
  ) {
    this.#instances = instances;
    this.#machines = machines;
    this.#region = region;
    this.#note = note;
  }

  arnOf(name: string): string {
    return `arn:aws:ssm:${this.#region}:${ACCOUNT}:parameter/${name.replace(/^\//, '')}`;
  }

  handle(action: string, body: Body): unknown {
    const handler = this.#handlers[action];
    if (handler === undefined)
      throw new AwsError('FakeGap', `the fake knows no ssm ${action}`, 501);
    return handler(body);
  }

  leftovers(): string[] {
    return [
      ...[...this.parameters.keys()].map((name) => `ssm parameter ${name}`),
      ...[...this.associations.keys()].map((id) => `ssm association ${id}`),
    ];
  }

  readonly #handlers: Readonly<Record<string, (body: Body) => unknown>> = {
    PutParameter: (body) => {
      const name = text(body, 'Name');
      const old = this.parameters.get(name);
      if (old !== undefined && body['Overwrite'] !== true) {
        throw new AwsError('ParameterAlreadyExists', 'The parameter already exists.');
      }
      const parameter: Parameter = {
        Name: name,
        Type: typeof body['Type'] === 'string' ? body['Type'] : (old?.Type ?? 'String'),
        Value: text(body, 'Value'),
        Version: (old?.Version ?? 0) + 1,
        tier: typeof body['Tier'] === 'string' ? body['Tier'] : 'Standard',
        description: typeof body['Description'] === 'string' ? body['Description'] : undefined,
      };
      // A standard parameter holds 4 KiB.
      if (parameter.tier === 'Standard' && parameter.Value.length > 4096) {
        throw new AwsError(
          'ValidationException',
          'Standard tier parameters support 4096 characters.',
        );
      }
      this.parameters.set(name, parameter);
      if (Array.isArray(body['Tags'])) this.#tag('Parameter', name, body['Tags'] as Tag[]);
      return { Version: parameter.Version, Tier: parameter.tier };
    },
    GetParameter: (body) => ({
      Parameter: this.#shown(text(body, 'Name'), body['WithDecryption'] === true),
    }),
    GetParameters: (body) => {
      const names = body['Names'] as string[];
      const isKnown = (name: string): boolean =>
        this.parameters.has(name) || name.startsWith(PUBLIC);
      return {
        Parameters: names
          .filter(isKnown)
          .map((name) => this.#shown(name, body['WithDecryption'] === true)),
        InvalidParameters: names.filter((name) => !isKnown(name)),
      };
    },
    DescribeParameters: (body) => {
      const filters = (body['ParameterFilters'] ?? []) as { Key: string; Values: string[] }[];
      const names = filters.filter(({ Key }) => Key === 'Name').flatMap(({ Values }) => Values);
      return {
        Parameters: [...this.parameters.values()]
          .filter(({ Name }) => names.length === 0 || names.includes(Name))
          .map((one) => ({
            ...{ Name: one.Name, Type: one.Type, Version: one.Version, Tier: one.tier },
            ...{
              ARN: this.arnOf(one.Name),
              DataType: 'text',
              Description: one.description,
              Policies: [],
            },
            ...(one.Type === 'SecureString' ? { KeyId: 'alias/aws/ssm' } : {}),
          })),
      };
    },
    DeleteParameter: (body) => {
      if (!this.parameters.delete(text(body, 'Name'))) throw unknownParameter(text(body, 'Name'));
      return {};
    },
    ListTagsForResource: (body) => ({
      TagList: this.#tags.get(`${text(body, 'ResourceType')} ${text(body, 'ResourceId')}`) ?? [],
    }),
    AddTagsToResource: (body) => {
      this.#tag(text(body, 'ResourceType'), text(body, 'ResourceId'), body['Tags'] as Tag[]);
      return {};
    },
    RemoveTagsFromResource: (body) => {
      const key = `${text(body, 'ResourceType')} ${text(body, 'ResourceId')}`;
      const keys = body['TagKeys'] as string[];
      this.#tags.set(
        key,
        (this.#tags.get(key) ?? []).filter(({ Key }) => !keys.includes(Key)),
      );
      return {};
    },
    CreateAssociation: (body) => {
      this.#made += 1;
      const AssociationId = `00000000-0000-4000-8000-${String(this.#made).padStart(12, '0')}`;
      const association: Association = {
        AssociationId,
        Name: text(body, 'Name'),
        Targets: (body['Targets'] ?? []) as Association['Targets'],
        Parameters: (body['Parameters'] ?? {}) as Association['Parameters'],
        status: 'Pending',
        AssociationName:
          typeof body['AssociationName'] === 'string' ? body['AssociationName'] : undefined,
        version: 1,
      };
      this.associations.set(AssociationId, association);
      if (Array.isArray(body['Tags']))
        this.#tag('Association', AssociationId, body['Tags'] as Tag[]);
      void this.#apply(association);
      return { AssociationDescription: shownAssociation(association) };
    },
    DescribeAssociation: (body) => ({
      AssociationDescription: shownAssociation(this.#association(text(body, 'AssociationId'))),
    }),
    UpdateAssociation: (body) => {
      const association = this.#association(text(body, 'AssociationId'));
      association.Parameters = (body['Parameters'] ??
        association.Parameters) as Association['Parameters'];
      association.Targets = (body['Targets'] ?? association.Targets) as Association['Targets'];
      association.version += 1;
      void this.#apply(association);
      return { AssociationDescription: shownAssociation(association) };
    },
    DeleteAssociation: (body) => {
      this.associations.delete(this.#association(text(body, 'AssociationId')).AssociationId);
      return {};
    },
  };

  /** Runs the association's commands on each of its instances, as the agent there would. */
  async #apply(association: Association): Promise<void> {
    association.status = 'Pending';
    const script = (association.Parameters['commands'] ?? []).join('\n');
    const codes = await Promise.all(
      this.#targets(association).map(async (instance) => {
        const { code, output } = await this.#machines.run(instance, script);
        this.#note(code === 0 ? 'gate passed' : 'gate failed', instance.instanceId, output.trim());
        return code;
      }),
    );
    association.status = codes.every((code) => code === 0) ? 'Success' : 'Failed';
  }

  #targets(association: Association): Instance[] {
    return association.Targets.filter(({ Key }) => Key === 'InstanceIds').flatMap(({ Values }) =>
      Values.map((id) => this.#instances.instances.need(id)),
    );
  }

  #association(id: string): Association {
    const association = this.associations.get(id);
    if (association === undefined) {
      throw new AwsError('AssociationDoesNotExist', `association ${id} does not exist`);
    }
    return association;
  }

  #shown(name: string, decrypt: boolean): unknown {
    if (name.startsWith(PUBLIC)) {
      return {
        ...{ Name: name, Type: 'String', Value: IMAGE_ID, Version: 1, DataType: 'text' },
        ARN: `arn:aws:ssm:${this.#region}::parameter${name}`,
      };
    }
    const parameter = this.parameters.get(name);
    if (parameter === undefined) throw unknownParameter(name);
    const { Type, Value, Version } = parameter;
    const shown = Type === 'SecureString' && !decrypt ? 'AQICAHencrypted' : Value;
    return { Name: name, Type, Value: shown, Version, ARN: this.arnOf(name), DataType: 'text' };
  }

  #tag(type: string, id: string, tags: Tag[]): void {
    const key = `${type} ${id}`;
    const kept = (this.#tags.get(key) ?? []).filter(
      (one) => !tags.some(({ Key }) => Key === one.Key),
    );
    this.#tags.set(key, [...kept, ...tags]);
  }
}

function shownAssociation(association: Association): unknown {
  const { AssociationId, Name, Targets, Parameters, AssociationName, status, version } =
    association;
  return {
    ...{ AssociationId, Name, Targets, Parameters, AssociationVersion: String(version) },
    ...(AssociationName === undefined ? {} : { AssociationName }),
    ...{ DocumentVersion: '$DEFAULT', ApplyOnlyAtCronInterval: false, Date: 1_767_225_600 },
    Overview: {
      Status: status,
      DetailedStatus: status,
      AssociationStatusAggregatedCount: { [status]: 1 },
    },
  };
}

function unknownParameter(name: string): AwsError {
  return new AwsError('ParameterNotFound', `Parameter ${name} not found.`);
}

function text(body: Body, key: string): string {
  const value = body[key];
  if (typeof value !== 'string') throw new AwsError('ValidationException', `${key} is missing`);
  return value;
}
