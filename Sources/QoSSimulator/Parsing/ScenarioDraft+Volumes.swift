import BlockStorage
import VolumeQoS

/// Policies and volumes.
extension ScenarioDraft {
    private enum LimiterKind: String, CaseIterable {
        case sluice, qemu
    }

    mutating func takePolicies(_ node: ScenarioNode) throws(StorageError) {
        guard let pairs = node.pairs else { throw node.error("names and policies are wanted") }
        for (key, value) in pairs {
            let name = try key.name()
            policies[name] = try policy(value, name: name)
        }
    }

    /// A policy, or the name of one.
    func policy(_ node: ScenarioNode) throws(StorageError) -> VolumePolicy {
        if node.isMapping { return try policy(node, name: nil) }
        let name = try node.text()
        guard let policy = policies[name] else {
            throw node.error("there is no policy '\(name)'" + Suggestion.text(for: name, among: policies.keys.sorted()))
        }
        return policy
    }

    private func policy(_ node: ScenarioNode, name: String?) throws(StorageError) -> VolumePolicy {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.policy)
        func rate(_ key: String) throws(StorageError) -> UInt64? {
            try keys[key].map { node throws(StorageError) in try node.count(1...1_000_000_000) }
        }
        let (minimum, maximum, burst) = (try rate("minimum"), try rate("maximum"), try rate("burst"))
        let given = [minimum, maximum, burst].compactMap(\.self)
        guard zip(given, given.dropFirst()).allSatisfy({ $0 <= $1 }) else {
            throw node.error("minimum <= maximum <= burst is wanted")
        }
        var policy = VolumePolicy(
            try QoSPolicy(minIOPS: minimum, maxIOPS: maximum, burstIOPS: burst), name: name)
        if let node = keys["credit"] {
            switch try node.text() {
            case "full": policy.creditSeconds = options.burstSeconds
            case "empty": policy.creditSeconds = 0
            default: policy.creditSeconds = Int64(try node.time() / 1_000_000_000)
            }
            guard policy.creditSeconds <= options.burstSeconds else {
                throw node.error("no more than \(options.burstSeconds) s of burst are saved")
            }
        }
        let limiter = try keys["limiter"]?.choice(LimiterKind.self) ?? .sluice
        if limiter == .qemu {
            guard let maximum else { throw node.error("QEMU's throttle needs a maximum") }
            var limits = QEMULimits(average: maximum, burst: burst)
            if let node = keys["burst-length"] {
                let time = try node.positiveTime()
                guard time % 1_000_000_000 == 0, burst != nil else {
                    throw node.error("whole seconds, and a burst, are wanted")
                }
                limits.burstSeconds = time / 1_000_000_000
            }
            limits.requestSize = try keys["request-size"]?.requestSize()
            policy.enforcement = .qemu(limits)
        } else if let node = keys["burst-length"] ?? keys["request-size"] {
            throw node.error("this is for 'limiter: qemu'")
        }
        return policy
    }

    mutating func takeVolume(_ node: ScenarioNode) throws(StorageError) {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.volume)
        let nameNode = try keys.required("name")
        let name = try nameNode.name()
        let known = volumes.firstIndex { $0.name == name }
        var volume = known.map { volumes[$0] } ?? Volume(node: node, name: name)
        if known != nil, volume.node.file == node.file, volume.node.path.hasPrefix("volumes["),
            node.path.hasPrefix("volumes[")
        {
            throw nameNode.error("there are two volumes with the name '\(name)'")
        }
        if let value = keys["count"] { volume.count = try value.count(1...1_000_000) }
        if let value = keys["policy"] {
            volume.policy = value
        } else if known == nil {
            volume.policy = nil
        }
        if let value = keys["workload"] {
            volume.workloads = []
            for element in value.elements { volume.workloads += try workloads(element) }
        } else if known == nil {
            throw node.error("the key 'workload' is missing")
        }
        if let known { volumes[known] = volume } else { volumes.append(volume) }
    }
}
