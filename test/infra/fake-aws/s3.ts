import { createHash } from 'node:crypto';
import { AwsError } from './query.ts';
import { elements, escape, textOf } from './xml.ts';

const TAGGING = 'x-amz-tagging';

type S3Object = { body: Buffer; etag: string; headers: Record<string, string>; tags: string };
type Bucket = { objects: Map<string, S3Object>; settings: Map<string, string> };
type Upload = {
  bucket: string;
  key: string;
  parts: Map<number, Buffer>;
  headers: Record<string, string>;
};

/** A request to S3, its body already without the framing of signed chunks. */
export type S3Request = {
  method: string;
  /** Bucket and key, percent-decoded. */
  path: string;
  search: URLSearchParams;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Buffer;
};
export type S3Answer = { status: number; headers?: Record<string, string>; body?: Buffer | string };

/** What is answered about a setting that nobody made; the rest are defaults of AWS. */
const ABSENT: Readonly<Record<string, string>> = {
  policy: 'NoSuchBucketPolicy',
  cors: 'NoSuchCORSConfiguration',
  website: 'NoSuchWebsiteConfiguration',
  lifecycle: 'NoSuchLifecycleConfiguration',
  replication: 'ReplicationConfigurationNotFoundError',
  'object-lock': 'ObjectLockConfigurationNotFoundError',
  publicAccessBlock: 'NoSuchPublicAccessBlockConfiguration',
  ownershipControls: 'OwnershipControlsNotFoundError',
  tagging: 'NoSuchTagSet',
};
const DEFAULTS: Readonly<Record<string, string>> = {
  location: '<LocationConstraint/>',
  versioning: '<VersioningConfiguration/>',
  accelerate: '<AccelerateConfiguration/>',
  logging: '<BucketLoggingStatus/>',
  requestPayment:
    '<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>',
  encryption:
    '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>',
  acl: '<AccessControlPolicy><Owner><ID>owner</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>owner</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>',
};

/** S3: buckets with their settings, objects, uploads in parts. */
export class S3 {
  readonly buckets = new Map<string, Bucket>();
  readonly #uploads = new Map<string, Upload>();
  readonly #region: string;
  #made = 0;

  constructor(region: string) {
    this.#region = region;
  }

  handle(request: S3Request): S3Answer {
    const [, name = '', ...rest] = request.path.split('/');
    const key = rest.join('/');
    if (key !== '') return this.#object(name, key, request);
    const setting = [...Object.keys(ABSENT), ...Object.keys(DEFAULTS)].find((one) =>
      request.search.has(one),
    );
    return setting === undefined
      ? this.#bucket(name, request)
      : this.#setting(name, setting, request);
  }

  leftovers(): string[] {
    return [...this.buckets.keys()].map((name) => `s3 ${name}`);
  }

  #bucket(name: string, { method, search, body }: S3Request): S3Answer {
    const existing = this.buckets.get(name);
    if (method === 'PUT') {
      if (existing !== undefined) throw new AwsError('BucketAlreadyOwnedByYou', name, 409);
      const settings = new Map([
        [
          'publicAccessBlock',
          '<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>',
        ],
      ]);
      this.buckets.set(name, { objects: new Map(), settings });
      return { status: 200, headers: { location: `/${name}` } };
    }
    const bucket = this.#need(name);
    if (method === 'HEAD') return { status: 200, headers: { 'x-amz-bucket-region': this.#region } };
    if (method === 'DELETE') {
      if (bucket.objects.size > 0)
        throw new AwsError('BucketNotEmpty', 'The bucket is not empty.', 409);
      this.buckets.delete(name);
      return { status: 204 };
    }
    if (method === 'POST' && search.has('delete')) {
      const keys = elements(body.toString('utf8'), 'Object').map((one) => textOf(one, 'Key') ?? '');
      for (const key of keys) bucket.objects.delete(key);
      return answer(
        `<DeleteResult>${keys.map((key) => `<Deleted><Key>${escape(key)}</Key></Deleted>`).join('')}</DeleteResult>`,
      );
    }
    if (search.has('versions')) {
      const versions = [...bucket.objects].map(
        ([
          key,
          {
            body: { length },
            etag,
          },
        ]) =>
          `<Version><Key>${escape(key)}</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>${length}</Size><ETag>${escape(etag)}</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Version>`,
      );
      return answer(
        `<ListVersionsResult><Name>${name}</Name><IsTruncated>false</IsTruncated>${versions.join('')}</ListVersionsResult>`,
      );
    }
    const contents = [...bucket.objects].map(
      ([
        key,
        {
          body: { length },
          etag,
        },
      ]) =>
        `<Contents><Key>${escape(key)}</Key><Size>${length}</Size><ETag>${escape(etag)}</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`,
    );
    return answer(
      `<ListBucketResult><Name>${name}</Name><IsTruncated>false</IsTruncated><KeyCount>${contents.length}</KeyCount>${contents.join('')}</ListBucketResult>`,
    );
  }

  #setting(name: string, setting: string, { method, body }: S3Request): S3Answer {
    const { settings } = this.#need(name);
    if (method === 'PUT') {
      settings.set(setting, body.toString('utf8'));
      return { status: 200 };
    }
    if (method === 'DELETE') {
      settings.delete(setting);
      return { status: 204 };
    }
    const value = settings.get(setting) ?? DEFAULTS[setting];
    if (value === undefined) {
      throw new AwsError(
        ABSENT[setting] ?? 'NoSuchKey',
        `${setting} of ${name} does not exist`,
        404,
      );
    }
    return setting === 'policy' && settings.has(setting)
      ? { status: 200, body: value }
      : answer(value);
  }

  #object(name: string, key: string, request: S3Request): S3Answer {
    const { method, search, headers, body } = request;
    const { objects } = this.#need(name);
    if (method === 'POST' && search.has('uploads')) {
      this.#made += 1;
      const id = `upload-${this.#made}`;
      this.#uploads.set(id, { bucket: name, key, parts: new Map(), headers: kept(headers) });
      return answer(
        `<InitiateMultipartUploadResult><Bucket>${name}</Bucket><Key>${escape(key)}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    const upload = this.#uploads.get(search.get('uploadId') ?? '');
    if (upload !== undefined && method === 'PUT') {
      upload.parts.set(Number(search.get('partNumber')), body);
      return { status: 200, headers: { etag: etagOf(body) } };
    }
    if (upload !== undefined && method === 'POST') {
      const parts = [...upload.parts].sort(([a], [b]) => a - b).map(([, part]) => part);
      const object = this.#put(objects, key, Buffer.concat(parts), upload.headers);
      return answer(
        `<CompleteMultipartUploadResult><Bucket>${name}</Bucket><Key>${escape(key)}</Key><ETag>${escape(object.etag)}</ETag></CompleteMultipartUploadResult>`,
      );
    }
    if (method === 'PUT' && search.has('tagging')) {
      this.#find(objects, key).tags = body.toString('utf8');
      return { status: 200 };
    }
    if (method === 'PUT') {
      return { status: 200, headers: { etag: this.#put(objects, key, body, kept(headers)).etag } };
    }
    if (method === 'DELETE') {
      objects.delete(key);
      return { status: 204 };
    }
    const object = this.#find(objects, key);
    if (search.has('tagging')) return answer(object.tags);
    if (search.has('acl')) return answer(DEFAULTS['acl'] ?? '');
    return {
      status: 200,
      headers: {
        ...object.headers,
        etag: object.etag,
        'content-length': String(object.body.length),
        'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
      },
      ...(method === 'HEAD' ? {} : { body: object.body }),
    };
  }

  #put(
    objects: Bucket['objects'],
    key: string,
    body: Buffer,
    headers: Record<string, string>,
  ): S3Object {
    const object = { body, etag: etagOf(body), headers, tags: tagging(headers[TAGGING]) };
    objects.set(key, object);
    return object;
  }

  #find(objects: Bucket['objects'], key: string): S3Object {
    const object = objects.get(key);
    if (object === undefined)
      throw new AwsError('NoSuchKey', `The key ${key} does not exist.`, 404);
    return object;
  }

  #need(name: string): Bucket {
    const bucket = this.buckets.get(name);
    if (bucket === undefined)
      throw new AwsError('NoSuchBucket', `The bucket ${name} does not exist`, 404);
    return bucket;
  }
}

/**
 * Takes `aws-chunked` framing off a body: `SIZE[;chunk-signature=…]\r\n…\r\n`, ended by a chunk of
 * size 0 and trailers.
 */
export function unchunked(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const end = body.indexOf('\r\n', at);
    const size = parseInt(body.toString('latin1', at, end), 16);
    if (end < 0 || !(size > 0)) break;
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts);
}

function answer(document: string): S3Answer {
  return { status: 200, headers: { 'content-type': 'application/xml' }, body: document };
}

/** Tags as they come in a header, as they are asked for. */
function tagging(header = ''): string {
  const tags = [...new URLSearchParams(header)].map(
    ([key, value]) => `<Tag><Key>${escape(key)}</Key><Value>${escape(value)}</Value></Tag>`,
  );
  return `<Tagging><TagSet>${tags.join('')}</TagSet></Tagging>`;
}

function etagOf(body: Buffer): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}

function kept(headers: S3Request['headers']): Record<string, string> {
  const names = [
    'content-type',
    'x-amz-server-side-encryption',
    'cache-control',
    'x-amz-meta-sha256',
    TAGGING,
  ];
  return Object.fromEntries(
    names.flatMap((name) => (typeof headers[name] === 'string' ? [[name, headers[name]]] : [])),
  );
}
