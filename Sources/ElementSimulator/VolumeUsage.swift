import VolumeQoS

/// What a target has done for a volume since it began to count.
public struct VolumeCounters: Hashable, Sendable {
    public var readOperations = 0
    public var writeOperations = 0
    public var readBytes = 0
    public var writtenBytes = 0
    /// Bytes that the volume's data takes on the disk.
    public var usedBytes = 0
    public var sessions = 0

    public init() {}

    var operations: Int { readOperations + writeOperations }
    var bytes: Int { readBytes + writtenBytes }

    /// What was counted after `old`; a target that was restarted began anew.
    func since(_ old: VolumeCounters) -> VolumeCounters {
        guard readOperations >= old.readOperations, writeOperations >= old.writeOperations,
            readBytes >= old.readBytes, writtenBytes >= old.writtenBytes
        else { return self }
        var new = self
        new.readOperations -= old.readOperations
        new.writeOperations -= old.writeOperations
        new.readBytes -= old.readBytes
        new.writtenBytes -= old.writtenBytes
        return new
    }
}

/// How much each volume is used, and the burst that it has saved by that, as Sluice's own model of the array's policies
/// books it.
///
/// The use is what the target counts, or a load that a client sets for volumes without one. The simulator measures; it
/// does not hold anybody back.
struct VolumeUsage: Sendable {
    /// As the array samples, in nanoseconds.
    static let window: UInt64 = 500_000_000
    /// What was before that many of them is of no consequence: saved burst is capped.
    private static let longestHistory: UInt64 = 150

    struct Load: Sendable, Hashable {
        /// Operations a second that are asked for, and the size of each in bytes.
        var iops: Double
        var size: Int
    }

    /// What a volume does now.
    struct Activity: Sendable, Hashable {
        var iops = 0
        var averageSize = 0
        /// In operations of 4 KiB.
        var normalisedIOPS = 0
        var operations = 0
        var readOperations = 0
        var writeOperations = 0
        var readBytes = 0
        var writtenBytes = 0
    }

    private struct Entry: Sendable {
        var qos: QoSRecord
        /// In operations of 4 KiB.
        var allocator: FluidAllocator
        var activity = Activity()
        var counters: VolumeCounters?
        /// What the volume's data takes on the disk, as it was asked for last.
        var usedBytes = 0
        var load: Load?
        /// Until when the use is booked.
        var time: UInt64

        init(_ qos: QoSRecord, time: UInt64) {
            self.qos = qos
            self.time = time
            allocator = FluidAllocator(volumes: [qos.volume(credit: 0)])
        }

        /// Books an operation count until a time, and returns what of it the policy allows.
        mutating func book(_ operations: Double, until now: UInt64) -> Double {
            guard now > time else { return 0 }
            let seconds = Double(now - time) / 1e9
            time = now
            return allocator.tick(
                duration: seconds, capacity: Double(qos.burstIOPS) * 2, backlog: [operations]
            ).reduce(0, +)
        }

        var credit: Double {
            get { allocator.volumes.first?.credit ?? 0 }
            set { allocator.volumes = [qos.volume(credit: newValue)] }
        }
    }

    private var entries: [Int: Entry] = [:]
    private(set) var peakIOPS = 0
    private(set) var peakSessionCount = 0

    var total: Activity {
        var total = Activity()
        var weighted = 0
        for entry in entries.values {
            total.iops += entry.activity.iops
            total.operations += entry.activity.operations
            weighted += entry.activity.iops * entry.activity.averageSize
        }
        if total.iops > 0 { total.averageSize = weighted / total.iops }
        return total
    }

    var usedBytes: Int { entries.values.reduce(0) { $0 + $1.usedBytes } }
    var sessionCount: Int { entries.values.reduce(0) { $0 + ($1.counters?.sessions ?? 0) } }

    func activity(of volume: Int) -> Activity { entries[volume]?.activity ?? Activity() }

    func usedBytes(of volume: Int) -> Int { entries[volume]?.usedBytes ?? 0 }

    /// Takes up new volumes and changed policies, and forgets what is gone.
    mutating func follow(_ volumes: [Int: VolumeRecord], now: UInt64) {
        entries = entries.filter { volumes[$0.key] != nil }
        for (id, volume) in volumes where entries[id]?.qos != volume.qos {
            if entries[id] == nil {
                entries[id] = Entry(volume.qos, time: now)
            } else {
                advance(id, to: now)
                entries[id]?.qos = volume.qos
                if let credit = entries[id]?.credit { entries[id]?.credit = credit }
            }
        }
    }

    /// Saved burst, in hundredths of a 4 KiB operation.
    func credit(of volume: Int, now: UInt64) -> Int64 {
        guard var entry = entries[volume] else { return 0 }
        // Until the next measurement it is idle.
        if entry.load == nil { _ = entry.book(0, until: now) }
        return Int64((entry.credit * Double(CostCurve.unit)).rounded())
    }

    func credits(now: UInt64) -> [Int: Int64] {
        entries.reduce(into: [:]) { $0[$1.key] = credit(of: $1.key, now: now) }
    }

    mutating func restore(_ credit: Int64, of volume: Int) {
        entries[volume]?.credit = Double(max(0, credit)) / Double(CostCurve.unit)
    }

    /// Sets the load of a volume from now on; nil for none.
    mutating func setLoad(_ load: Load?, of volume: Int, now: UInt64) {
        advance(to: now)
        entries[volume]?.load = load
        if load == nil { entries[volume]?.activity.becomeIdle() }
    }

    /// Takes up what the volumes' data takes, at any time, and books nothing.
    mutating func recordSizes(_ counters: [Int: VolumeCounters]) {
        for (id, counter) in counters { entries[id]?.usedBytes = counter.usedBytes }
    }

    /// Books what the targets have counted. Called each half second, it sees what an array sees.
    mutating func record(_ counters: [Int: VolumeCounters], now: UInt64) {
        recordSizes(counters)
        for (id, counter) in counters {
            guard var entry = entries[id], now > entry.time else { continue }
            let done = counter.since(entry.counters ?? VolumeCounters())
            let seconds = Double(now - entry.time) / 1e9
            entry.counters = counter
            _ = entry.book(done.normalisedOperations, until: now)
            entry.activity.add(done, seconds: seconds)
            entries[id] = entry
        }
        peakSessionCount = max(peakSessionCount, sessionCount)
        peakIOPS = max(peakIOPS, total.iops)
    }

    /// Books what is idle or has a load that was set: that gets what its policy allows, at most the burst it has saved
    /// beyond its maximum.
    mutating func advance(to now: UInt64) {
        for id in entries.keys { advance(id, to: now) }
        peakIOPS = max(peakIOPS, total.iops)
    }

    private mutating func advance(_ id: Int, to now: UInt64) {
        guard var entry = entries[id] else { return }
        defer { entries[id] = entry }
        guard let load = entry.load else {
            if entry.counters == nil { _ = entry.book(0, until: now) }
            return
        }
        entry.time = max(entry.time, now - min(now, Self.longestHistory * Self.window))
        let weight = Double(CostCurve.element.cost(of: UInt64(max(0, load.size)))) / Double(CostCurve.unit)
        while now >= entry.time, now - entry.time >= Self.window {
            let granted = entry.book(load.iops / 2 * weight, until: entry.time + Self.window)
            var done = VolumeCounters()
            done.readOperations = Int((granted / weight).rounded(.down))
            done.readBytes = done.readOperations * load.size
            entry.activity.add(done, seconds: 0.5)
        }
    }
}

extension VolumeUsage.Activity {
    mutating func add(_ done: VolumeCounters, seconds: Double) {
        iops = Self.rate(Double(done.operations), seconds)
        averageSize = done.operations > 0 ? done.bytes / done.operations : 0
        normalisedIOPS = Self.rate(done.normalisedOperations, seconds)
        operations += done.operations
        readOperations += done.readOperations
        writeOperations += done.writeOperations
        readBytes += done.readBytes
        writtenBytes += done.writtenBytes
    }

    /// A second's worth, as far as that is one that can be.
    private static func rate(_ operations: Double, _ seconds: Double) -> Int {
        Int(min(operations / max(seconds, 1e-3), 1e12))
    }

    mutating func becomeIdle() { (iops, averageSize, normalisedIOPS) = (0, 0, 0) }
}

extension VolumeCounters {
    /// All operations as if each were of the average size, in 4 KiB operations.
    fileprivate var normalisedOperations: Double {
        guard operations > 0 else { return 0 }
        let cost = CostCurve.element.cost(of: UInt64(max(0, bytes / operations)))
        return Double(operations) * Double(cost) / Double(CostCurve.unit)
    }
}

extension QoSRecord {
    /// Whether a call can have set it.
    var isPossible: Bool { 0 < minIOPS && minIOPS <= maxIOPS && maxIOPS <= burstIOPS && burstIOPS <= 1_000_000_000 }

    /// As the model has it, with no more credit than there can be.
    func volume(credit: Double) -> FluidAllocator.Volume {
        var volume = FluidAllocator.Volume(
            minimum: Double(minIOPS), maximum: Double(maxIOPS), burst: Double(burstIOPS))
        volume.credit = min(credit, volume.largestCredit(seconds: 60))
        return volume
    }
}
