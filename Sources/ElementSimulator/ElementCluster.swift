import BlockStorage
import Foundation

/// What a simulated cluster is, beside its contents.
public struct ElementConfiguration: Sendable {
    public var clusterName = "sluice-simulator"
    /// Addresses that `GetClusterInfo` tells.
    public var managementAddress = "127.0.0.1"
    public var storageAddress = "127.0.0.1"
    /// Four letters or digits; random for nil.
    public var clusterID: String?
    public var limits = ElementLimits.documented
    /// What the cluster's drives hold, in bytes.
    public var capacityBytes = 20_000_000_000_000
    /// What it does, in 4 KiB operations a second.
    public var capacityIOPS = 200_000
    /// How many bytes it lets volumes have for each that it holds.
    public var overprovisioning = 5
    /// How long a clone takes, in seconds.
    public var cloneSeconds = 1.0
    /// How long a deleted volume can be restored, in seconds.
    public var purgeSeconds = 8.0 * 3600

    public init() {}
}

/// A cluster as a value: calls change it and say what that means for the bytes behind it. No call does any I/O.
struct ElementCluster: Sendable {
    let configuration: ElementConfiguration
    var state: ClusterState
    var usage = VolumeUsage()
    /// Where secrets and identities come from.
    private var generator: any RandomNumberGenerator & Sendable
    /// What the call that is being made asks of the volumes' bytes, in order.
    var changes: [DataChange] = []
    /// When the call is made, in nanoseconds since 1970.
    var now: UInt64 = 0
    /// What a fault makes of the clone that this call begins.
    var jobFault: FaultPlan.JobFault?

    var limits: ElementLimits { configuration.limits }

    /// A cluster with nothing in it.
    init(
        _ configuration: ElementConfiguration,
        generator: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        var generator = generator
        let limits = configuration.limits
        let clusterID =
            configuration.clusterID ?? Self.text(4, from: "abcdefghijklmnopqrstuvwxyz0123456789", &generator)
        self.configuration = configuration
        state = ClusterState(
            clusterID: clusterID, uuid: Self.uuid(&generator),
            defaultQoS: QoSRecord(
                minIOPS: limits.minIOPS.lowerBound, maxIOPS: limits.minIOPS.upperBound,
                burstIOPS: limits.minIOPS.upperBound))
        self.generator = generator
    }

    /// A cluster that was saved. Volumes have the burst that they had saved, in hundredths of a 4 KiB operation.
    init(
        _ configuration: ElementConfiguration, state: ClusterState, credits: [Int: Int64], now: UInt64,
        generator: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        self.configuration = configuration
        self.state = state
        self.generator = generator
        usage.follow(state.volumes, now: now)
        for (volume, credit) in credits { usage.restore(credit, of: volume) }
    }

    /// Makes one call at a time, in nanoseconds since 1970. One that fails changes nothing but what time has changed.
    ///
    /// Returns the answer, and what is to be done to the volumes' bytes before the change holds.
    mutating func call(
        _ method: String, _ values: [String: JSONValue], now: UInt64, jobFault: FaultPlan.JobFault? = nil
    ) -> (answer: Result<JSONValue, ElementError>, changes: [DataChange]) {
        settle(now: now)
        var next = self
        next.now = now
        next.changes = []
        next.jobFault = jobFault
        do throws(ElementError) {
            guard let body = Self.methods[method] else { throw .unknownMethod(method) }
            var parameters = Parameters(values)
            let result = try body(&next, &parameters)
            try parameters.finish()
            let changes = next.changes
            next.changes = []
            next.usage.follow(next.state.volumes, now: now)
            self = next
            return (.success(result), changes)
        } catch {
            return (.failure(error), [])
        }
    }

    /// Does what the time has come for: ends clones, purges volumes, drops snapshots.
    mutating func settle(now: UInt64) {
        self.now = now
        for job in state.jobs.values.sorted(by: { $0.handle < $1.handle }) where !job.isComplete {
            guard let due = job.dueTime, due <= now else { continue }
            end(job, with: job.failure, at: due)
        }
        for volume in state.volumes.values {
            if let purgeTime = volume.purgeTime, purgeTime <= now { purge(volume.volumeID) }
        }
        for snapshot in state.snapshots.values {
            if let expirationTime = snapshot.expirationTime, expirationTime <= now {
                state.snapshots[snapshot.snapshotID] = nil
            }
        }
        usage.follow(state.volumes, now: now)
    }

    typealias Method = @Sendable (inout ElementCluster, inout Parameters) throws(ElementError) -> JSONValue

    static let methods: [String: Method] = {
        let groups = [
            clusterMethods, accountMethods, volumeMethods, volumeListMethods, cloneMethods, snapshotMethods,
            accessGroupMethods, initiatorMethods, policyMethods, statisticsMethods,
        ]
        return groups.reduce(into: [:]) { $0.merge($1) { _, last in last } }
    }()

    // MARK: Random texts

    mutating func makeUUID() -> UUID { Self.uuid(&generator) }

    mutating func makeSecret() -> Secret {
        let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return Secret(Self.text(limits.secretLength.upperBound, from: letters, &generator))
    }

    private static func text(
        _ count: Int, from letters: String, _ generator: inout any RandomNumberGenerator & Sendable
    ) -> String {
        let letters = Array(letters)
        return String((0..<count).map { _ in letters[Int(generator.next(upperBound: UInt(letters.count)))] })
    }

    private static func uuid(_ generator: inout any RandomNumberGenerator & Sendable) -> UUID {
        var bytes: [UInt8] = []
        for _ in 0..<16 { bytes.append(UInt8(truncatingIfNeeded: generator.next())) }
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        return UUID(
            uuid: (
                bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
                bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]
            ))
    }

    // MARK: What calls have in common

    func checkName(_ name: String, _ what: String) throws(ElementError) {
        let length = limits.nameLength
        guard length.contains(name.utf8.count) else {
            throw .invalid("member=[\(what)] has \(length.lowerBound) to \(length.upperBound) characters")
        }
    }

    func checkAttributes(_ attributes: [String: JSONValue]?) throws(ElementError) -> [String: JSONValue]? {
        guard let attributes else { return nil }
        guard JSONValue.object(attributes).bytes.count < limits.attributesSize else {
            throw .invalid("member=[attributes] has less than \(limits.attributesSize) bytes")
        }
        return attributes
    }

    func account(_ id: Int) throws(ElementError) -> AccountRecord {
        guard let account = state.accounts[id] else { throw .noAccount(id) }
        return account
    }

    /// A volume that exists and is not deleted.
    func volume(_ id: Int) throws(ElementError) -> VolumeRecord {
        guard let volume = state.volumes[id], volume.status != .deleted else { throw .noVolume(id) }
        return volume
    }

    /// A volume that can be worked with now.
    func activeVolume(_ id: Int) throws(ElementError) -> VolumeRecord {
        let volume = try volume(id)
        guard volume.status == .active else { throw .notRegistered(id) }
        return volume
    }

    /// Part of a list: what is not below a number, as many as are wanted.
    static func page<Record>(_ records: [Int: Record], from start: Int?, limit: Int?) throws(ElementError) -> [Record] {
        if let limit, limit < 0 { throw .invalid("member=[limit] is not negative") }
        let sorted = records.filter { $0.key >= start ?? 0 }.sorted { $0.key < $1.key }.map(\.value)
        // A limit of none is the same as none.
        guard let limit, limit > 0 else { return sorted }
        return Array(sorted.prefix(limit))
    }

    /// `2026-01-31T12:00:00Z`
    static func timestamp(_ time: UInt64) -> JSONValue {
        .string(Date(timeIntervalSince1970: Double(time / 1_000_000_000)).formatted(.iso8601))
    }

    /// So many seconds after now.
    func time(after seconds: Double) -> UInt64 {
        let (time, overflow) = now.addingReportingOverflow(UInt64(min(max(0, seconds), 1e9) * 1e9))
        return overflow ? .max : time
    }
}

/// What a call asks of the bytes behind the volumes, before the change holds.
public enum DataChange: Hashable, Sendable {
    /// So many bytes, all zero, in place of any that a call left that came to nothing.
    case create(String, size: Int)
    /// These bytes are so many now, zero where they are new.
    case extend(String, size: Int)
    /// These bytes are a copy of others, as they are now, cut or extended with zeros to a size.
    case copy(from: String, to: String, size: Int)
}
