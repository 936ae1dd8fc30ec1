import { AwsError } from './query.ts';
import { elements, textOf, xml, type Xml } from './xml.ts';

const XMLNS = 'HostedZone';

type RecordSet = {
  name: string;
  type: string;
  ttl: number;
  setIdentifier: string | undefined;
  multiValue: boolean;
  values: string[];
};
type Zone = {
  id: string;
  name: string;
  reference: string;
  comment: string;
  vpcs: { VPCId: string; VPCRegion: string }[];
  records: RecordSet[];
  tags: Map<string, string>;
};

/** Route 53: private zones and their records. */
export class Route53 {
  readonly zones = new Map<string, Zone>();
  #made = 0;

  /** Answers a request under `/2013-04-01/`; the result is an XML document. */
  handle(method: string, path: string, search: URLSearchParams, body: string): string {
    const [kind = '', id = '', rest = ''] = path.replace('/2013-04-01/', '').split('/');
    if (kind === 'change') return document('GetChangeResponse', { ChangeInfo: CHANGE });
    if (kind === 'tags') return this.#tags(method, rest === '' ? id : rest, body);
    if (kind !== 'hostedzone') return gap(method, path);
    if (id === '') {
      return method === 'POST' ? this.#create(body) : gap(method, path);
    }
    const zone = this.zones.get(id);
    if (zone === undefined) {
      throw new AwsError('NoSuchHostedZone', `No hosted zone found with ID: ${id}`, 404);
    }
    switch (`${method} ${rest}`) {
      case 'GET ':
        return document('GetHostedZoneResponse', shownZone(zone));
      case 'DELETE ':
        return this.#delete(zone);
      case 'POST ':
        zone.comment = textOf(body, 'Comment') ?? '';
        return document('UpdateHostedZoneCommentResponse', shownZone(zone));
      case 'POST rrset':
        return change(zone, body);
      case 'GET rrset':
        return list(zone, search);
      case 'GET dnssec':
        return document('GetDNSSECResponse', {
          Status: { ServeSignature: 'NOT_SIGNING' },
          KeySigningKeys: [],
        });
      case 'POST associatevpc':
        zone.vpcs.push(vpcOf(body));
        return document('AssociateVPCWithHostedZoneResponse', { ChangeInfo: CHANGE });
      case 'POST disassociatevpc':
        zone.vpcs = zone.vpcs.filter(({ VPCId }) => VPCId !== vpcOf(body).VPCId);
        return document('DisassociateVPCFromHostedZoneResponse', { ChangeInfo: CHANGE });
      default:
        return gap(method, path);
    }
  }

  /** The values of all records of this name and type; undefined where no zone holds the name. */
  resolve(name: string, type: string): { ttl: number; values: string[] } | undefined {
    const wanted = `${name.toLowerCase().replace(/\.$/, '')}.`;
    const zone = [...this.zones.values()].find(
      (one) => wanted === one.name || wanted.endsWith(`.${one.name}`),
    );
    if (zone === undefined) return undefined;
    const records = zone.records.filter((record) => record.name === wanted && record.type === type);
    return { ttl: records[0]?.ttl ?? 60, values: records.flatMap(({ values }) => values) };
  }

  leftovers(): string[] {
    return [...this.zones.values()].map(({ name }) => `route53 ${name}`);
  }

  #create(body: string): string {
    this.#made += 1;
    const id = `Z${String(this.#made).padStart(13, '0')}`;
    const name = `${(textOf(body, 'Name') ?? '').replace(/\.$/, '')}.`;
    const zone: Zone = {
      ...{ id, name, reference: textOf(body, 'CallerReference') ?? '' },
      comment: textOf(body, 'Comment') ?? '',
      vpcs: body.includes('<VPC>') ? [vpcOf(body)] : [],
      records: ['NS', 'SOA'].map((type) => ({
        ...{ name, type, ttl: 900, setIdentifier: undefined, multiValue: false },
        values:
          type === 'NS'
            ? ['ns-0.awsdns-00.com.']
            : ['ns-0.awsdns-00.com. hostmaster. 1 7200 900 1209600 86400'],
      })),
      tags: new Map<string, string>(),
    };
    this.zones.set(id, zone);
    return document('CreateHostedZoneResponse', { ...shownZone(zone), ChangeInfo: CHANGE });
  }

  #delete(zone: Zone): string {
    if (zone.records.some(({ type }) => type !== 'NS' && type !== 'SOA')) {
      throw new AwsError('HostedZoneNotEmpty', 'The hosted zone contains records.');
    }
    this.zones.delete(zone.id);
    return document('DeleteHostedZoneResponse', { ChangeInfo: CHANGE });
  }

  #tags(method: string, id: string, body: string): string {
    const tags = this.zones.get(id)?.tags ?? new Map<string, string>();
    if (method === 'GET') {
      const Tags = [...tags].map(
        ([Key, Value]) => `<Tag>${xml('Key', Key, '')}${xml('Value', Value, '')}</Tag>`,
      );
      return `<ListTagsForResourceResponse><ResourceTagSet><ResourceType>hostedzone</ResourceType><ResourceId>${id}</ResourceId><Tags>${Tags.join('')}</Tags></ResourceTagSet></ListTagsForResourceResponse>`;
    }
    const removed =
      textOf(body, 'RemoveTagKeys') === undefined
        ? []
        : elements(body.split('RemoveTagKeys')[1] ?? '', 'Key');
    for (const key of removed) tags.delete(key);
    for (const tag of elements(body, 'Tag'))
      tags.set(textOf(tag, 'Key') ?? '', textOf(tag, 'Value') ?? '');
    return document('ChangeTagsForResourceResponse', {});
  }
}

const CHANGE = { Id: '/change/C1', Status: 'INSYNC', SubmittedAt: '2026-01-01T00:00:00Z' };

function change(zone: Zone, body: string): string {
  let records = zone.records;
  for (const one of elements(body, 'Change')) {
    const action = textOf(one, 'Action');
    const record: RecordSet = {
      name: `${(textOf(one, 'Name') ?? '').toLowerCase().replace(/\.$/, '')}.`,
      type: textOf(one, 'Type') ?? '',
      ttl: Number(textOf(one, 'TTL') ?? 60),
      setIdentifier: textOf(one, 'SetIdentifier'),
      multiValue: textOf(one, 'MultiValueAnswer') === 'true',
      values: elements(one, 'Value'),
    };
    const others = records.filter((other) => keyOf(other) !== keyOf(record));
    if (action === 'DELETE' && others.length === records.length) {
      throw invalid(
        `Tried to delete resource record set [name='${record.name}'] but it was not found`,
      );
    }
    if (action === 'CREATE' && others.length < records.length) {
      throw invalid(
        `Tried to create resource record set [name='${record.name}'] but it already exists`,
      );
    }
    records = action === 'DELETE' ? others : [...others, record];
  }
  zone.records = records;
  return document('ChangeResourceRecordSetsResponse', { ChangeInfo: CHANGE });
}

function list(zone: Zone, search: URLSearchParams): string {
  const start = search.get('name') ?? '';
  const from = start === '' ? '' : `${start.toLowerCase().replace(/\.$/, '')}.`;
  const type = search.get('type');
  const shown = zone.records
    .filter(
      (record) => from === '' || (record.name === from && (type === null || record.type === type)),
    )
    .map((record) =>
      xml(
        'ResourceRecordSet',
        {
          ...{ Name: record.name, Type: record.type, SetIdentifier: record.setIdentifier },
          MultiValueAnswer: record.multiValue ? true : undefined,
          TTL: record.ttl,
          ResourceRecords: record.values.map((Value) => ({ Value })),
        },
        'ResourceRecord',
      ),
    );
  return `<ListResourceRecordSetsResponse><ResourceRecordSets>${shown.join('')}</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems></ListResourceRecordSetsResponse>`;
}

function shownZone(zone: Zone): { [key: string]: Xml } {
  return {
    HostedZone: {
      ...{ Id: `/hostedzone/${zone.id}`, Name: zone.name, CallerReference: zone.reference },
      Config: { Comment: zone.comment, PrivateZone: zone.vpcs.length > 0 },
      ResourceRecordSetCount: zone.records.length,
    },
    ...(zone.vpcs.length > 0
      ? { VPCs: zone.vpcs.map((vpc) => vpc) }
      : { DelegationSet: { NameServers: ['ns-0.awsdns-00.com'] } }),
  };
}

function document(name: string, value: Xml): string {
  return xml(name, value, name.includes(XMLNS) ? 'VPC' : 'item');
}

function vpcOf(body: string): { VPCId: string; VPCRegion: string } {
  return { VPCRegion: textOf(body, 'VPCRegion') ?? '', VPCId: textOf(body, 'VPCId') ?? '' };
}

function keyOf({ name, type, setIdentifier }: RecordSet): string {
  return [name, type, setIdentifier ?? ''].join(' ');
}

function invalid(message: string): AwsError {
  return new AwsError('InvalidChangeBatch', message);
}

function gap(method: string, path: string): never {
  throw new AwsError('FakeGap', `the fake knows no route53 ${method} ${path}`, 501);
}
