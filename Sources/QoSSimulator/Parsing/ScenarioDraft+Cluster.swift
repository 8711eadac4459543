import BlockStorage
import VolumeQoS

/// Nodes and what happens to them.
extension ScenarioDraft {
    mutating func takeCluster(_ node: ScenarioNode) throws(StorageError) {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.cluster)
        if let list = keys["nodes"] {
            var groups: [NodeGroup] = []
            for element in try list.list() { groups.append(try Self.nodes(element)) }
            let names = groups.map(\.name)
            guard Set(names).count == names.count else { throw list.error("two nodes have the same name") }
            guard (1...1000).contains(groups.reduce(0) { $0 + $1.count }) else {
                throw list.error("a cluster has 1 to 1000 nodes")
            }
            var fresh = Cluster(nodes: groups)
            if let cluster {
                fresh = cluster
                fresh.nodes = groups
            }
            cluster = fresh
        }
        guard var cluster else { throw node.error("the key 'nodes' is missing") }
        if let value = keys["copies"] { cluster.copies = Int64(try value.count(1...16)) }
        if let value = keys["data"] { cluster.storedBytes = try value.size() }
        if let value = keys["failover"] { cluster.failover = try value.time() }
        if let value = keys["recovery"] {
            let keys = try ScenarioMapping(value, keys: ScenarioKeys.recovery)
            if let value = keys["share"] { cluster.recoveryPercent = try value.percent(1...99) }
            if let value = keys["request-size"] { cluster.recoveryRequestSize = try value.requestSize() }
        }
        self.cluster = cluster
    }

    private static func nodes(_ node: ScenarioNode) throws(StorageError) -> NodeGroup {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.node)
        var group = NodeGroup(name: try keys.required("name").name(), iops: 0)
        if let value = keys["count"] { group.count = Int(try value.count(1...1000)) }
        switch (keys["iops"], keys["capacity"]) {
        case (let iops?, nil): group.iops = try iops.count(1...1_000_000_000)
        case (nil, let capacity?): try takeCapacity(capacity, &group)
        case (.some, let capacity?): throw capacity.error("'iops' and 'capacity' say the same: give one")
        case (nil, nil): throw node.error("the key 'iops' is missing")
        }
        if let value = keys["slots"] { group.slots = Int(try value.count(1...100_000)) }
        if let value = keys["latency"] {
            let latency = try value.latency()
            (group.readLatency, group.writeLatency) = (latency, latency)
        }
        if let value = keys["read-latency"] { group.readLatency = try value.latency() }
        if let value = keys["write-latency"] { group.writeLatency = try value.latency() }
        if let value = keys["weight"] { group.weight = try value.count(1...1_000_000) }
        return group
    }

    /// What a node does of each size in a second, as data sheets give it: `{4k: 100k, 64k: 12k}`.
    private static func takeCapacity(_ node: ScenarioNode, _ group: inout NodeGroup) throws(StorageError) {
        // A cost for each size: so many times that of 4 KiB as it is done less often.
        var best: UInt64 = 0
        guard let pairs = node.pairs else { throw node.error("sizes and IOPS are wanted") }
        var hasUnit = false
        for (key, value) in pairs {
            best = max(best, try value.count(1...1_000_000_000))
            if try key.size() == 4096 { hasUnit = true }
        }
        guard hasUnit else { throw node.error("the IOPS of 4k are missing") }
        let resolution = CostCurve.unit
        group.curve = try points(node) { iops in
            Int64((UInt128(best) * UInt128(resolution) + UInt128(iops) / 2) / UInt128(iops))
        }
        group.iops = best
    }

    func event(_ node: ScenarioNode, nodes: inout [String]) throws(StorageError) -> ScheduledEvent {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.event)
        let time = try keys.required("at").time()
        let kinds = ["lose", "restore", "expand", "set-policy"].filter { keys[$0] != nil }
        guard let kind = kinds.first, kinds.count == 1, let value = keys[kind] else {
            throw node.error("one of lose, restore, expand and set-policy is wanted")
        }
        switch kind {
        case "lose", "restore":
            let name = try value.text()
            guard nodes.contains(name) else {
                throw value.error("there is no node '\(name)'" + Suggestion.text(for: name, among: nodes))
            }
            return ScheduledEvent(at: time, kind == "lose" ? .lose(node: name) : .restore(node: name))
        case "expand":
            let group = try Self.nodes(value)
            let names = (0..<group.count).map { group.nodeName($0) }
            guard nodes.allSatisfy({ !names.contains($0) }) else { throw value.error("there is a node of that name") }
            nodes += names
            return ScheduledEvent(at: time, .expand(group))
        default:
            let keys = try ScenarioMapping(value, keys: ScenarioKeys.setPolicy)
            let volume = try keys.required("volume")
            let name = try volume.text()
            guard let group = volumes.first(where: { $0.name == name }) else {
                throw volume.error(
                    "there is no volume '\(name)'" + Suggestion.text(for: name, among: volumes.map(\.name)))
            }
            let policy = try self.policy(try keys.required("policy"))
            let before = try group.policy.map { node throws(StorageError) in try self.policy(node) }
            guard policy.isQEMU == (before?.isQEMU ?? false) else {
                throw value.error("a volume stays with its limiter: qemu, or the scheduler")
            }
            return ScheduledEvent(at: time, .setPolicy(group: name, policy))
        }
    }
}

extension VolumePolicy {
    fileprivate var isQEMU: Bool { if case .qemu = enforcement { true } else { false } }
}

extension ScenarioNode {
    /// `500us`, or `10ms..30ms`.
    fileprivate func latency() throws(StorageError) -> ClosedRange<UInt64> {
        let text = try text()
        if text.contains("..") {
            let range = try interval()
            guard range.upperBound <= 1_000_000_000_000 else { throw error("at most 1000 s are wanted") }
            return range.lowerBound...range.upperBound
        }
        let time = try time()
        guard time <= 1_000_000_000_000 else { throw error("at most 1000 s are wanted") }
        return time...time
    }

    /// The size of a request: 1 byte to 1 GiB.
    func requestSize() throws(StorageError) -> UInt64 {
        let size = try size()
        guard (1...RequestCode.largestByteCount).contains(size) else { throw error("a request has 1 byte to 1 GiB") }
        return size
    }
}
