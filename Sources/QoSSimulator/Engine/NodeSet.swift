import BlockStorage
import VolumeQoS

/// The nodes of a cluster while it is simulated.
///
/// A node does its operations one after the other, at its rate, and each takes its latency besides; so it takes another
/// request when it is free and has a slot. What it does while it recovers data is taken from its rate.
struct NodeSet: Sendable {
    struct Node: Sendable {
        let name: String
        let group: NodeGroup
        /// Hundredths of a 4 KiB operation a second.
        let rate: Int64
        let costs: CostTable
        /// Whether its requests cost what their volumes are charged.
        let sharesCurve: Bool
        var isAlive = true
        /// Grows when the node is lost: requests of an earlier life have to be done again.
        var life: UInt32 = 0
        var freeSlots: Int
        /// When the node takes the next request, and what of a nanosecond is left over, in parts of `fraction`.
        var free: UInt64 = 0
        var remainder: UInt64 = 0
        /// Nanoseconds for a unit of cost, in parts of `fraction`.
        var timePerCost: UInt64 = 0
        /// What the node did in this window, in nanoseconds.
        var busy: UInt64 = 0
    }

    private static let fractionBits: UInt64 = 20

    private(set) var nodes: [Node] = []
    private let cluster: Cluster
    private let curve: CostCurve
    private var random: SeededGenerator
    /// What recovery has to move, in cost units times nanoseconds a second.
    private var toMove: Int128 = 0
    private var recoveryTime: UInt64 = 0
    private(set) var bytesMoved: UInt64 = 0
    private(set) var timeRecovering: UInt64 = 0

    init(_ scenario: Scenario) {
        cluster = scenario.cluster
        curve = scenario.curve
        random = SeededGenerator(seed: scenario.seed, part: 1 << 40)
        for group in cluster.nodes { add(group, now: 0) }
        setRates()
    }

    private mutating func add(_ group: NodeGroup, now: UInt64) {
        for index in 0..<group.count {
            nodes.append(
                Node(
                    name: group.nodeName(index), group: group,
                    rate: Int64(clamping: min(group.iops, 1 << 40)) * CostCurve.unit,
                    costs: CostTable(group.curve ?? curve), sharesCurve: group.curve == nil && cluster.copies == 1,
                    freeSlots: group.slots, free: now))
        }
    }

    // MARK: Requests

    /// The node that has been free for the longest, if one is free now; else when one will be, `UInt64.max` where that
    /// takes a completion.
    @inline(__always)
    func place(now: UInt64) -> (node: Int?, time: UInt64) {
        var found = -1
        var earliest = UInt64.max
        for index in nodes.indices where nodes[index].free < earliest {
            guard nodes[index].isAlive, nodes[index].freeSlots > 0 else { continue }
            (found, earliest) = (index, nodes[index].free)
        }
        return found >= 0 && earliest <= now ? (found, earliest) : (nil, earliest)
    }

    /// Begins a request on a free node. Returns when it ends.
    @inline(__always)
    mutating func begin(on index: Int, charge: Int64, byteCount: UInt64, isWrite: Bool, now: UInt64) -> UInt64 {
        var cost = charge
        if !nodes[index].sharesCurve {
            cost = nodes[index].costs.cost(of: byteCount) * (isWrite ? cluster.copies : 1)
        }
        if nodes[index].free < now {
            nodes[index].free = now
            nodes[index].remainder = 0
        }
        let (high, low) = UInt64(cost).multipliedFullWidth(by: nodes[index].timePerCost)
        let (sum, carry) = low.addingReportingOverflow(nodes[index].remainder)
        let bits = Self.fractionBits
        // More than a century for one request is drawn to that.
        let time = high < 1 << 8 ? ((high + (carry ? 1 : 0)) << (64 - bits)) | (sum >> bits) : 1 << 52
        nodes[index].remainder = sum & ((1 << bits) - 1)
        nodes[index].free += time
        nodes[index].busy += time
        nodes[index].freeSlots -= 1
        let latency = isWrite ? nodes[index].group.writeLatency : nodes[index].group.readLatency
        let spread = latency.upperBound - latency.lowerBound
        return nodes[index].free + latency.lowerBound + (spread > 0 ? random.below(spread + 1) : 0)
    }

    @inline(__always)
    mutating func end(on index: Int) { nodes[index].freeSlots += 1 }

    /// What the nodes did since the last call, and what they can do at most in `duration`, in nanoseconds.
    mutating func takeBusyTime(duration: UInt64) -> (busy: Double, of: Double) {
        var sum = 0.0
        for index in nodes.indices {
            sum += Double(nodes[index].busy)
            nodes[index].busy = 0
        }
        return (sum, Double(duration) * Double(nodes.count { $0.isAlive }))
    }

    // MARK: Capacity

    private var livingRate: Int64 { nodes.reduce(0) { $0 + ($1.isAlive ? $1.rate : 0) } }

    var isRecovering: Bool { toMove > 0 }

    /// Operations of 4 KiB a second that there are for volumes.
    var capacity: Double {
        let rate = Double(livingRate) / Double(CostCurve.unit)
        return isRecovering ? rate * Double(100 - cluster.recoveryPercent) / 100 : rate
    }

    /// Gives every node its rate, less what recovery takes of it.
    private mutating func setRates() {
        let percent = isRecovering ? 100 - cluster.recoveryPercent : 100
        for index in nodes.indices {
            let time = (UInt128(100_000_000_000) << UInt128(Self.fractionBits)) / UInt128(percent)
            nodes[index].timePerCost = UInt64(clamping: time / UInt128(max(1, nodes[index].rate)))
        }
    }

    // MARK: Nodes that come and go

    private func index(of name: String) -> Int? { nodes.firstIndex { $0.name == name } }

    mutating func lose(_ name: String, now: UInt64) {
        guard let index = index(of: name), nodes[index].isAlive else { return }
        advanceRecovery(to: now)
        let part = dataPart(of: nodes[index].group.weight)
        nodes[index].isAlive = false
        nodes[index].life += 1
        move(part)
    }

    mutating func restore(_ name: String, now: UInt64) {
        guard let index = index(of: name), !nodes[index].isAlive else { return }
        advanceRecovery(to: now)
        nodes[index].isAlive = true
        nodes[index].freeSlots = nodes[index].group.slots
        (nodes[index].free, nodes[index].remainder) = (now, 0)
        move(dataPart(of: nodes[index].group.weight))
    }

    mutating func expand(_ group: NodeGroup, now: UInt64) {
        advanceRecovery(to: now)
        add(group, now: now)
        move(dataPart(of: group.weight * UInt64(group.count)))
    }

    /// The bytes that nodes of this weight hold.
    private func dataPart(of weight: UInt64) -> UInt64 {
        let all = nodes.reduce(0) { $0 + ($1.isAlive ? $1.group.weight : 0) }
        guard all > 0 else { return 0 }
        return UInt64(clamping: UInt128(cluster.storedBytes) * UInt128(weight) / UInt128(all))
    }

    private mutating func move(_ byteCount: UInt64) {
        bytesMoved += byteCount
        // Each byte is read from one node and written to another.
        let size = max(1, cluster.recoveryRequestSize)
        let requests = Int128((byteCount + size - 1) / size)
        toMove += requests * 2 * Int128(curve.cost(of: size)) * 1_000_000_000
        setRates()
    }

    private var recoveryRate: Int128 { Int128(livingRate) * Int128(cluster.recoveryPercent) / 100 }

    /// When everything is moved, `UInt64.max` for never.
    var recoveryEnd: UInt64 {
        guard toMove > 0, recoveryRate > 0 else { return .max }
        let (end, overflow) = recoveryTime.addingReportingOverflow(
            UInt64(clamping: (toMove + recoveryRate - 1) / recoveryRate))
        return overflow ? .max : end
    }

    /// Moves what there was time for.
    mutating func advanceRecovery(to now: UInt64) {
        defer { recoveryTime = now }
        guard toMove > 0, now > recoveryTime else { return }
        timeRecovering += now - recoveryTime
        toMove = max(0, toMove - Int128(now - recoveryTime) * recoveryRate)
        if toMove == 0 { setRates() }
    }
}

/// A cost curve with the costs of the usual sizes at hand.
struct CostTable: Sendable {
    private let curve: CostCurve
    /// Of multiples of 4 KiB up to 1 MiB.
    private let usual: [Int64]

    init(_ curve: CostCurve) {
        self.curve = curve
        usual = (0...256).map { curve.cost(of: $0 << 12) }
    }

    @inline(__always)
    func cost(of byteCount: UInt64) -> Int64 {
        if byteCount & 4095 == 0, byteCount <= 1 << 20 { return usual[Int(byteCount >> 12)] }
        return curve.cost(of: byteCount)
    }
}
