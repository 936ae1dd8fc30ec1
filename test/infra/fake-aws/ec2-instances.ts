import { ACCOUNT, type Networks } from './ec2-network.ts';
import { AwsError, type Query } from './query.ts';
import { Shelf, tagsOf, type Handlers, type Thing } from './shelf.ts';
import type { Xml } from './xml.ts';

/** An instance, as far as the infrastructure asks for it. */
export type Instance = Thing & {
  instanceId: string;
  state: 'pending' | 'running' | 'shutting-down' | 'terminated';
  privateAddress: string;
  /** The address given at launch; an Elastic IP stands in its place while associated. */
  launchAddress: string | undefined;
  ipv6Address: string | undefined;
  groupIds: string[];
  subnetId: string;
  zone: string;
  instanceType: string;
  /** The name of its instance profile. */
  profile: string | undefined;
  /** As it was given: Base64. */
  userData: string | undefined;
  metadataTags: boolean;
  attributes: Xml;
};
type Address = Thing & {
  allocationId: string;
  publicIp: string;
  associationId: string | undefined;
  instanceId: string | undefined;
};

/** What becomes of instances in the world outside of the fake: computers, or nothing. */
export interface Machines {
  /** An instance was launched. */
  started(instance: Instance): void;
  /** An instance is to end: resolves when it has. */
  stopped(instance: Instance): Promise<void>;
  /** A public address has moved. */
  addressesChanged(): void;
  /** Runs a script as root on the instance; the exit code and what it wrote. */
  run(instance: Instance, script: string): Promise<{ code: number; output: string }>;
}

/** EC2's instances and the addresses they are reached at. */
export class Instances {
  readonly instances = new Shelf<Instance>('i', 'InvalidInstanceID');
  /** Their disks. */
  readonly volumes = new Shelf<Thing>('vol', 'InvalidVolume');
  readonly addresses = new Shelf<Address>('eipalloc', 'InvalidAllocationID');
  readonly #networks: Networks;
  readonly #machines: Machines;
  readonly #region: string;
  #associations = 0;
  #launched = 0;

  constructor(networks: Networks, machines: Machines, region: string) {
    this.#networks = networks;
    this.#machines = machines;
    this.#region = region;
  }

  readonly handlers: Handlers = {
    RunInstances: (query) => {
      const instance = this.#run(query);
      this.#machines.started(instance);
      return { reservationId: 'r-1', ownerId: ACCOUNT, instancesSet: [this.#shown(instance)] };
    },
    TerminateInstances: (query) => ({
      instancesSet: query.list('InstanceId').map((id) => {
        const instance = this.instances.need(id);
        const previousState = shownState(instance.state);
        if (instance.state === 'pending' || instance.state === 'running') this.#end(instance);
        return { instanceId: id, currentState: shownState(instance.state), previousState };
      }),
    }),
    DescribeInstances: (query) => ({
      reservationSet: this.instances
        .find(query, 'InstanceId', {
          'instance-id': (instance) => [instance.instanceId],
          'instance-state-name': (instance) => [instance.state],
        })
        .map((instance) => ({
          reservationId: instance.instanceId.replace('i-', 'r-'),
          ownerId: ACCOUNT,
          instancesSet: [this.#shown(instance)],
        })),
    }),
    DescribeInstanceStatus: (query) => ({
      instanceStatusSet: this.instances.find(query, 'InstanceId').map((instance) => ({
        instanceId: instance.instanceId,
        instanceState: shownState(instance.state),
        instanceStatus: { status: 'ok' },
        systemStatus: { status: 'ok' },
      })),
    }),
    DescribeInstanceAttribute: (query) => {
      const instance = this.instances.need(query.need('InstanceId'));
      const name = query.need('Attribute');
      const values: Record<string, string> = {
        userData: instance.userData ?? '',
        instanceInitiatedShutdownBehavior: 'stop',
      };
      return { instanceId: instance.instanceId, [name]: { value: values[name] ?? 'false' } };
    },
    ModifyInstanceAttribute: () => ({ return: true }),
    ModifyInstanceMetadataOptions: () => ({ return: true }),
    MonitorInstances: () => ({ instancesSet: [] }),
    DescribeInstanceCreditSpecifications: (query) => ({
      instanceCreditSpecificationSet: query
        .list('InstanceId')
        .map((instanceId) => ({ instanceId, cpuCredits: 'standard' })),
    }),
    DescribeInstanceTypes: (query) => ({
      instanceTypeSet: query.list('InstanceType').map((instanceType) => ({
        instanceType,
        burstablePerformanceSupported: instanceType.startsWith('t'),
        currentGeneration: true,
        processorInfo: { supportedArchitectures: ['x86_64'] },
        vCpuInfo: { defaultVCpus: 2, defaultCores: 1, defaultThreadsPerCore: 2 },
      })),
    }),
    DescribeImages: () => ({ imagesSet: [IMAGE] }),
    DescribeVolumes: (query) => ({
      volumeSet: query
        .list('VolumeId')
        .concat(query.groups('Filter').flatMap((filter) => filter.list('Value')))
        .map((id) => this.#volume(id)),
    }),
    DescribeNetworkInterfaces: () => ({ networkInterfaceSet: [] }),
    AllocateAddress: (query) => {
      const allocationId = this.addresses.nextId();
      const publicIp = `198.51.100.${10 + parseInt(allocationId.slice(-4), 16)}`;
      this.addresses.put(allocationId, {
        ...{ allocationId, publicIp, domain: 'vpc', networkBorderGroup: this.#region },
        ...{ associationId: undefined, instanceId: undefined, tagSet: tagsOf(query) },
      });
      return { allocationId, publicIp, domain: 'vpc' };
    },
    ReleaseAddress: (query) => {
      const address = this.addresses.need(query.need('AllocationId'));
      if (address.associationId !== undefined) {
        throw new AwsError('InvalidIPAddress.InUse', `Address ${address.publicIp} is in use.`);
      }
      this.addresses.delete(address.allocationId);
      return { return: true };
    },
    AssociateAddress: (query) => {
      const address = this.addresses.need(query.need('AllocationId'));
      if (address.associationId !== undefined && query.get('AllowReassociation') !== 'true') {
        throw new AwsError('Resource.AlreadyAssociated', `${address.publicIp} is associated`);
      }
      this.#associations += 1;
      address.instanceId = this.instances.need(query.need('InstanceId')).instanceId;
      address.associationId = `eipassoc-${this.#associations.toString(16).padStart(17, '0')}`;
      this.#machines.addressesChanged();
      return { return: true, associationId: address.associationId };
    },
    DisassociateAddress: (query) => {
      const id = query.need('AssociationId');
      const address = this.addresses.all().find(({ associationId }) => associationId === id);
      if (address === undefined) {
        throw new AwsError(
          'InvalidAssociationID.NotFound',
          `The association ID '${id}' does not exist`,
        );
      }
      Object.assign(address, { associationId: undefined, instanceId: undefined });
      this.#machines.addressesChanged();
      return { return: true };
    },
    DescribeAddresses: (query) => ({
      addressesSet: this.addresses
        .find(query, 'AllocationId', {
          'allocation-id': (address) => [address.allocationId],
          'association-id': (address) => [address.associationId],
          'instance-id': (address) => [address.instanceId],
        })
        .map((address) => ({
          ...address,
          privateIpAddress:
            address.instanceId === undefined
              ? undefined
              : this.instances.need(address.instanceId).privateAddress,
        })),
    }),
    DescribeAddressesAttribute: () => ({ addressSet: [] }),
  };

  /** Where an instance is reached from the internet now. */
  publicAddressOf(instance: Instance): string | undefined {
    const elastic = this.addresses
      .all()
      .find(({ instanceId }) => instanceId === instance.instanceId);
    return elastic?.publicIp ?? instance.launchAddress;
  }

  /** Those that run, or are about to, or are just ending. */
  living(): Instance[] {
    return this.instances.all().filter(({ state }) => state !== 'terminated');
  }

  /** The machine of this instance has booted. */
  running(instance: Instance): void {
    if (instance.state === 'pending') instance.state = 'running';
  }

  #run(query: Query): Instance {
    const card = query.under('NetworkInterface.1') ?? query;
    const subnet = this.#networks.subnets.need(card.need('SubnetId'));
    const instanceId = this.instances.nextId();
    this.#launched += 1;
    const wantsPublic = card.get('AssociatePublicIpAddress') ?? subnet.mapPublicIpOnLaunch;
    const wantsIpv6 =
      Number(card.get('Ipv6AddressCount') ?? 0) > 0 ||
      subnet.assignIpv6AddressOnCreation === 'true';
    // AWS keeps the first four addresses of a subnet to itself; none is given out twice here.
    const host = 9 + this.#launched;
    const ipv6 = subnet.ipv6CidrBlockAssociationSet[0]?.ipv6CidrBlock.replace(/::\/64$/, '');
    const options = query.under('MetadataOptions');
    this.volumes.put(volumeOf(instanceId), { tagSet: tagsOf(query, 'volume') });
    return this.instances.put(instanceId, {
      instanceId,
      state: 'running',
      privateAddress: subnet.cidrBlock.replace(/\d+\/\d+$/, String(host)),
      launchAddress: wantsPublic === 'true' ? `203.0.113.${host}` : undefined,
      ipv6Address: wantsIpv6 && ipv6 !== undefined ? `${ipv6}::${host.toString(16)}` : undefined,
      groupIds: [
        ...card.list('SecurityGroupId'),
        ...(card === query ? query.list('SecurityGroup') : []),
      ],
      subnetId: subnet.subnetId,
      zone: subnet.availabilityZone,
      instanceType: query.need('InstanceType'),
      profile:
        query.get('IamInstanceProfile.Name') ??
        query.get('IamInstanceProfile.Arn')?.split('/').pop(),
      userData: query.get('UserData'),
      metadataTags: options?.get('InstanceMetadataTags') === 'enabled',
      attributes: {
        metadataOptions: {
          state: 'applied',
          httpEndpoint: options?.get('HttpEndpoint') ?? 'enabled',
          httpTokens: options?.get('HttpTokens') ?? 'optional',
          httpPutResponseHopLimit: options?.get('HttpPutResponseHopLimit') ?? '1',
          httpProtocolIpv6: options?.get('HttpProtocolIpv6') ?? 'disabled',
          instanceMetadataTags: options?.get('InstanceMetadataTags') ?? 'disabled',
        },
      },
      tagSet: tagsOf(query, 'instance'),
    });
  }

  #end(instance: Instance): void {
    instance.state = 'shutting-down';
    void this.#machines.stopped(instance).finally(() => {
      instance.state = 'terminated';
      for (const address of this.addresses.all()) {
        if (address.instanceId === instance.instanceId) {
          Object.assign(address, { associationId: undefined, instanceId: undefined });
        }
      }
      this.#machines.addressesChanged();
    });
  }

  #volume(id: string): Xml {
    return {
      ...{ volumeId: id, size: 8, volumeType: 'gp3', iops: 3000, throughput: 125, encrypted: true },
      ...{ availabilityZone: `${this.#region}a`, status: 'in-use', kmsKeyId: 'alias/aws/ebs' },
      tagSet: this.volumes.need(id).tagSet,
      attachmentSet: [
        {
          volumeId: id,
          instanceId: id.replace('vol-', 'i-'),
          device: '/dev/xvda',
          status: 'attached',
          deleteOnTermination: true,
        },
      ],
    };
  }

  #shown(instance: Instance): Xml {
    const { instanceId, subnetId, groupIds, privateAddress, ipv6Address, attributes } = instance;
    const publicIp = this.publicAddressOf(instance);
    const groupSet = groupIds.map((groupId) => ({ groupId, groupName: groupId }));
    const { vpcId } = this.#networks.subnets.get(subnetId) ?? { vpcId: 'vpc-gone' };
    const gone = instance.state === 'terminated';
    return {
      instanceId,
      imageId: IMAGE.imageId,
      instanceState: shownState(instance.state),
      instanceType: instance.instanceType,
      placement: { availabilityZone: instance.zone, tenancy: 'default' },
      monitoring: { state: 'disabled' },
      subnetId,
      vpcId,
      privateIpAddress: privateAddress,
      privateDnsName: `ip-${privateAddress.replaceAll('.', '-')}.ec2.internal`,
      ipAddress: publicIp,
      ipv6Address,
      sourceDestCheck: true,
      groupSet,
      architecture: 'x86_64',
      rootDeviceType: 'ebs',
      rootDeviceName: '/dev/xvda',
      ebsOptimized: true,
      enaSupport: true,
      virtualizationType: 'hvm',
      iamInstanceProfile:
        instance.profile === undefined
          ? undefined
          : {
              arn: `arn:aws:iam::${ACCOUNT}:instance-profile/${instance.profile}`,
              id: instance.profile,
            },
      blockDeviceMapping: [
        {
          deviceName: '/dev/xvda',
          ebs: {
            volumeId: volumeOf(instanceId),
            status: 'attached',
            deleteOnTermination: true,
          },
        },
      ],
      networkInterfaceSet: gone
        ? []
        : [
            {
              networkInterfaceId: instanceId.replace('i-', 'eni-'),
              ...{ subnetId, vpcId, status: 'in-use', privateIpAddress: privateAddress, groupSet },
              sourceDestCheck: true,
              interfaceType: 'interface',
              attachment: {
                attachmentId: 'eni-attach-1',
                deviceIndex: 0,
                networkCardIndex: 0,
                status: 'attached',
                deleteOnTermination: true,
              },
              ipv6AddressesSet:
                ipv6Address === undefined ? [] : [{ ipv6Address, isPrimaryIpv6: false }],
              privateIpAddressesSet: [{ privateIpAddress: privateAddress, primary: true }],
              association: publicIp === undefined ? undefined : { publicIp, ipOwnerId: 'amazon' },
            },
          ],
      maintenanceOptions: { autoRecovery: 'default' },
      hibernationOptions: { configured: false },
      enclaveOptions: { enabled: false },
      cpuOptions: { coreCount: 1, threadsPerCore: 2 },
      capacityReservationSpecification: { capacityReservationPreference: 'open' },
      privateDnsNameOptions: {
        hostnameType: 'ip-name',
        enableResourceNameDnsARecord: false,
        enableResourceNameDnsAAAARecord: false,
      },
      tagSet: instance.tagSet,
      ...(attributes as object),
    };
  }
}

/** The one machine image there is. */
const IMAGE = {
  imageId: 'ami-0c0ffee0c0ffee000',
  imageState: 'available',
  imageOwnerId: 'amazon',
  ownerId: '137112412989',
  name: 'al2023-ami-2023.9.20251117.1-kernel-6.1-x86_64',
  creationDate: '2025-11-17T00:00:00.000Z',
  architecture: 'x86_64',
  rootDeviceName: '/dev/xvda',
  rootDeviceType: 'ebs',
  virtualizationType: 'hvm',
  imageType: 'machine',
  isPublic: true,
  blockDeviceMapping: [
    {
      deviceName: '/dev/xvda',
      ebs: { snapshotId: 'snap-1', volumeSize: 8, volumeType: 'gp3', deleteOnTermination: true },
    },
  ],
  tagSet: [],
};

/** The one disk of an instance. */
function volumeOf(instanceId: string): string {
  return instanceId.replace('i-', 'vol-');
}

const STATE_CODES = { pending: 0, running: 16, 'shutting-down': 32, terminated: 48 };

function shownState(name: Instance['state']): Xml {
  return { code: STATE_CODES[name], name };
}
