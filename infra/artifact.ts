import { S3BucketPublicAccessBlock } from '@cdktf/provider-aws/lib/s3-bucket-public-access-block/index.js';
import { S3BucketServerSideEncryptionConfigurationA } from '@cdktf/provider-aws/lib/s3-bucket-server-side-encryption-configuration/index.js';
import { S3Bucket } from '@cdktf/provider-aws/lib/s3-bucket/index.js';
import { S3Object } from '@cdktf/provider-aws/lib/s3-object/index.js';
import { TerraformLocal } from 'cdktf';
import { Construct } from 'constructs';
import { needing, PreparedFile } from './prepared.ts';

export interface ArtifactOptions {
  readonly name: string;
  /** The tarball that `npm run deploy:prepare` makes. */
  readonly path: string;
}

/** What every host runs: a tarball in a private bucket, under its hash. */
export class Artifact extends Construct {
  /** It holds the tarball as `<sha256>.tar.gz`. */
  readonly bucket: string;
  /** In hexadecimal. */
  readonly sha256: string;
  readonly arn: string;
  readonly object: S3Object;

  constructor(scope: Construct, id: string, { name, path }: ArtifactOptions) {
    super(scope, id);
    const file = PreparedFile.at(this, 'path', path);
    this.sha256 = new TerraformLocal(this, 'sha256', file.sha256).asString;
    const bucket = new S3Bucket(this, 'bucket', {
      bucketPrefix: `${name}-artifact-`,
      forceDestroy: true,
    });
    const closed = new S3BucketPublicAccessBlock(this, 'closed', {
      bucket: bucket.id,
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    });
    const encrypted = new S3BucketServerSideEncryptionConfigurationA(this, 'encrypted', {
      bucket: bucket.id,
      rule: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: 'AES256' } }],
    });
    const key = `${this.sha256}.tar.gz`;
    this.object = new S3Object(this, 'tarball', {
      bucket: bucket.id,
      key,
      source: file.path,
      dependsOn: [closed, encrypted],
      lifecycle: needing('The artifact is', [file]),
    });
    this.bucket = bucket.id;
    this.arn = `${bucket.arn}/${key}`;
  }
}
