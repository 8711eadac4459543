import VolumeQoS

/// What a cluster allows: the values that `GetLimits` tells and the calls are held to.
///
/// Sources disagree on the IOPS that a volume may have, so those come as profiles.
public struct ElementLimits: Hashable, Sendable {
    public var minIOPS: ClosedRange<Int>
    /// Of the maximum and of the burst.
    public var maxIOPS: ClosedRange<Int>
    /// What a 4 KiB operation costs of a volume's IOPS, by its size.
    public var curve = CostCurve.element
    /// How long a burst that was saved up lasts, in seconds.
    public var burstSeconds = 60

    public var accountCount = 5000
    public var volumeCount = 4000
    public var volumesPerAccount = 2000
    /// In bytes. Sizes are multiples of 1 MiB, rounded up.
    public var volumeSize = 1_000_000_000...8_000_000_491_520
    public var snapshotsPerVolume = 32
    /// At a time.
    public var clonesPerVolume = 2
    public var groupCount = 1000
    public var initiatorsPerGroup = 64
    public var volumesPerGroup = 2000
    public var groupsPerVolume = 4
    public var groupsPerInitiator = 1
    public var policyCount = 500
    public var initiatorCount = 10_000
    /// Of the names of accounts, volumes, snapshots and access groups.
    public var nameLength = 1...64
    public var initiatorNameLength = 1...224
    public var secretLength = 12...16
    /// Of an object's attributes as JSON, in bytes.
    public var attributesSize = 1000

    public init(minIOPS: ClosedRange<Int>, maxIOPS: ClosedRange<Int>) {
        self.minIOPS = minIOPS
        self.maxIOPS = maxIOPS
    }

    /// Minimums from 50 to 15,000, maximums and bursts from 100 to 200,000, as NetApp's documents have it.
    public static let documented = ElementLimits(minIOPS: 50...15_000, maxIOPS: 100...200_000)
    /// Minimums from 100, maximums and bursts to 100,000: what CloudStack holds volumes to.
    public static let conservative = ElementLimits(minIOPS: 100...15_000, maxIOPS: 100...100_000)

    /// The curve as the array writes it: costs by size.
    var curveJSON: JSONValue {
        .object(
            Dictionary(
                curve.points.map { ("\($0.byteCount)", .integer(Int($0.cost))) }, uniquingKeysWith: { _, last in last })
        )
    }

    /// A size as the array makes it of the one asked for; nil where it would be out of range.
    func rounded(_ size: Int) -> Int? {
        let unit = 1 << 20
        guard volumeSize.contains(size) else { return nil }
        let rounded = (size + unit - 1) / unit * unit
        return rounded <= volumeSize.upperBound ? rounded : nil
    }

    var json: JSONValue {
        [
            "accountCountMax": .integer(accountCount), "accountNameLengthMax": .integer(nameLength.upperBound),
            "accountNameLengthMin": .integer(nameLength.lowerBound), "bulkVolumeJobsPerNodeMax": 8,
            "bulkVolumeJobsPerVolumeMax": 2, "cloneJobsPerNodeMax": 8,
            "cloneJobsPerVolumeMax": .integer(clonesPerVolume),
            "clusterPairsCountMax": 4, "initiatorAliasLengthMax": .integer(initiatorNameLength.upperBound),
            "initiatorCountMax": .integer(initiatorCount),
            "initiatorNameLengthMax": .integer(initiatorNameLength.upperBound),
            "initiatorsPerVolumeAccessGroupCountMax": .integer(initiatorsPerGroup),
            "iscsiSessionsFromFibreChannelNodesMax": 4096, "qosPolicyCountMax": .integer(policyCount),
            "scheduleNameLengthMax": 244, "secretLengthMax": .integer(secretLength.upperBound),
            "secretLengthMin": .integer(secretLength.lowerBound),
            "snapshotNameLengthMax": .integer(nameLength.upperBound),
            "snapshotsPerVolumeMax": .integer(snapshotsPerVolume), "virtualVolumeCountMax": 8000,
            "virtualVolumesPerAccountCountMax": 10_000, "volumeAccessGroupCountMax": .integer(groupCount),
            "volumeAccessGroupLunMax": 16_383, "volumeAccessGroupNameLengthMax": .integer(nameLength.upperBound),
            "volumeAccessGroupNameLengthMin": .integer(nameLength.lowerBound),
            "volumeAccessGroupsPerInitiatorCountMax": .integer(groupsPerInitiator),
            "volumeAccessGroupsPerVolumeCountMax": .integer(groupsPerVolume),
            "volumeBurstIOPSMax": .integer(maxIOPS.upperBound), "volumeBurstIOPSMin": .integer(maxIOPS.lowerBound),
            "volumeCountMax": .integer(volumeCount), "volumeMaxIOPSMax": .integer(maxIOPS.upperBound),
            "volumeMaxIOPSMin": .integer(maxIOPS.lowerBound), "volumeMinIOPSMax": .integer(minIOPS.upperBound),
            "volumeMinIOPSMin": .integer(minIOPS.lowerBound), "volumeNameLengthMax": .integer(nameLength.upperBound),
            "volumeNameLengthMin": .integer(nameLength.lowerBound), "volumeSizeMax": .integer(volumeSize.upperBound),
            "volumeSizeMin": .integer(volumeSize.lowerBound),
            "volumesPerAccountCountMax": .integer(volumesPerAccount), "volumesPerGroupSnapshotMax": 32,
            "volumesPerVolumeAccessGroupCountMax": .integer(volumesPerGroup),
        ]
    }
}
