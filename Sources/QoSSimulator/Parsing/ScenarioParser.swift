import BlockStorage
import Foundation
import VolumeQoS

extension ScenarioFile {
    /// The most bytes that a scenario file has.
    static let largestByteCount = 4 << 20

    /// Reads the scenario in a file. Throws `notFound` where there is none, and what `init(yaml:path:)` throws.
    public init(path: String) throws(StorageError) {
        let file = try FileHandle.regular(path, "read scenario")
        let data: Data?
        do {
            data = try file.read(upToCount: Self.largestByteCount + 1)
        } catch {
            throw StorageError(.inputOutput, "read scenario", at: path, why: error.localizedDescription)
        }
        guard let text = String(bytes: data ?? Data(), encoding: .utf8) else {
            throw StorageError(.invalidArgument, "read scenario", at: path, why: "it is not UTF-8")
        }
        try self.init(yaml: text, path: path)
    }

    /// Reads a scenario. `path` is where it stands: for messages, and for traces that it names.
    ///
    /// Throws `invalidArgument` with the file, the line and the key of what is wrong.
    public init(yaml text: String, path: String) throws(StorageError) {
        let document = try ScenarioNode.document(text, file: path)
        let keys = try ScenarioMapping(document, keys: ScenarioKeys.file)
        var base = ScenarioDraft(path: path)
        base.name = try keys.required("name").name()
        self.text = try keys["about"]?.text() ?? ""
        name = base.name
        try base.take(keys)
        runs = []
        if let list = keys["runs"] {
            for node in try list.list() {
                let overlay = try ScenarioMapping(node, keys: ScenarioKeys.run)
                var draft = base
                draft.name = try overlay.required("name").name()
                try draft.take(overlay)
                guard !runs.contains(where: { $0.name == draft.name }) else {
                    throw node.error("there are two runs with the name '\(draft.name)'")
                }
                runs.append(try draft.scenario(at: node))
            }
            guard (1...100).contains(runs.count) else { throw list.error("a scenario has 1 to 100 runs") }
        } else {
            runs = [try base.scenario(at: document)]
        }
        searchChecks = []
        search = nil
        if let node = keys["search"] { search = try CapacitySearch(node, runs: runs) }
        try takeChecks(keys["checks"])
    }

    private mutating func takeChecks(_ list: ScenarioNode?) throws(StorageError) {
        guard let list else { return }
        for node in try list.list() {
            let check = try Check(node, file: self)
            if check.metric == .moreVolumes {
                guard search != nil else { throw node.error("there is no 'search' in this scenario") }
                searchChecks.append(check)
            }
            for index in runs.indices where check.metric != .moreVolumes {
                guard check.run == nil || check.run == runs[index].name else { continue }
                if let volume = check.volume, !runs[index].has(volume) {
                    // In a comparison some runs may have volumes that others have not.
                    guard check.run == nil, runs.contains(where: { $0.has(volume) }) else {
                        let names = runs.flatMap { $0.volumes.map(\.name) }
                        throw node.error("there is no volume '\(volume)'" + Suggestion.text(for: volume, among: names))
                    }
                    continue
                }
                guard min(check.end ?? .max, runs[index].duration) > check.start else {
                    throw node.error("the interval lies after the end of the run '\(runs[index].name)'")
                }
                runs[index].checks.append(check)
            }
        }
    }
}

extension Scenario {
    /// Whether a group or a volume has the name.
    fileprivate func has(_ name: String) -> Bool {
        volumes.contains { group in
            if group.name == name { return true }
            guard group.count > 1, name.hasPrefix(group.name + "-"),
                let number = Int(name.dropFirst(group.name.count + 1))
            else { return false }
            return (1...group.count).contains(number) && group.volumeName(number - 1) == name
        }
    }
}

extension CapacitySearch {
    fileprivate init(_ node: ScenarioNode, runs: [Scenario]) throws(StorageError) {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.search)
        let group = try keys.required("add")
        self.group = try group.text()
        most = Int(try keys["most"]?.count(1...100_000) ?? 1000)
        let name = keys["run"]
        run = try name?.text() ?? runs.first?.name
        guard let found = runs.first(where: { $0.name == run }) else {
            throw (name ?? node).error(
                "there is no such run" + Suggestion.text(for: run ?? "", among: runs.map(\.name)))
        }
        guard found.volumes.contains(where: { $0.name == self.group }) else {
            throw group.error(
                "there is no such volume" + Suggestion.text(for: self.group, among: found.volumes.map(\.name)))
        }
    }
}

/// A run while its parts are put together: what a file says for all runs, and what one of them says otherwise.
struct ScenarioDraft {
    struct Volume {
        var node: ScenarioNode
        var name: String
        var count: UInt64 = 1
        var policy: ScenarioNode?
        var workloads: [Workload] = []
    }

    let path: String
    var name = ""
    var duration: UInt64?
    var window: UInt64 = 1_000_000_000
    var seed: UInt64 = 1
    var discipline = Scenario.Discipline.qos
    var options = QoSScheduler.Options()
    var curve = CostCurve.element
    var cluster: Cluster?
    var policies: [String: VolumePolicy] = [:]
    var volumes: [Volume] = []
    var events: [ScenarioNode] = []

    init(path: String) { self.path = path }

    /// Takes what is given, and leaves the rest as it is.
    mutating func take(_ keys: ScenarioMapping) throws(StorageError) {
        if let node = keys["duration"] { duration = try node.positiveTime() }
        if let node = keys["window"] {
            window = try node.positiveTime()
            guard window >= 1_000_000 else { throw node.error("a window has at least 1 ms") }
        }
        if let node = keys["seed"] { seed = try node.count(0...(1 << 40)) }
        if let node = keys["scheduler"] { try takeScheduler(node) }
        if let node = keys["cluster"] { try takeCluster(node) }
        if let node = keys["policies"] { try takePolicies(node) }
        if let node = keys["volumes"] {
            for element in try node.list() { try takeVolume(element) }
        }
        if let node = keys["events"] { events += try node.list() }
    }

    private mutating func takeScheduler(_ node: ScenarioNode) throws(StorageError) {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.scheduler)
        if let node = keys["kind"] { discipline = try node.choice(Scenario.Discipline.self) }
        if let node = keys["accrual"] { options.mode = try node.choice(AccrualMode.self) }
        if let node = keys["burst-time"] {
            let time = try node.positiveTime()
            guard time % 1_000_000_000 == 0, time <= 86_400_000_000_000 else {
                throw node.error("whole seconds up to a day are wanted")
            }
            options.burstSeconds = Int64(time / 1_000_000_000)
        }
        if let node = keys["costs"] { curve = try Self.curve(node) }
        options.largestCost = max(curve.cost(of: 1 << 20), CostCurve.unit)
    }

    /// `element`, `flat`, `units of 16k`, `proportional above 4k`, or sizes and costs.
    static func curve(_ node: ScenarioNode) throws(StorageError) -> CostCurve {
        guard !node.isMapping else { return try points(node) { Int64($0) } }
        let text = try node.text()
        if text == "element" { return .element }
        if text == "flat" { return .flat }
        for (prefix, make) in [("units of ", CostCurve.units), ("proportional above ", CostCurve.proportional)]
        where text.hasPrefix(prefix) {
            if let size = Quantity.size(String(text.dropFirst(prefix.count))), size > 0, let curve = make(size) {
                return curve
            }
        }
        throw node.error(
            "'\(text)' is not a cost curve: element, flat, 'units of 16k', 'proportional above 4k', or sizes and costs")
    }

    /// A curve of sizes and numbers, such as `{4k: 100, 8k: 160}`.
    static func points(_ node: ScenarioNode, _ cost: (UInt64) -> Int64) throws(StorageError) -> CostCurve {
        guard let pairs = node.pairs else { throw node.error("sizes and numbers are wanted") }
        var points: [CostCurve.Point] = []
        for (key, value) in pairs {
            points.append(CostCurve.Point(byteCount: try key.size(), cost: cost(try value.count(1...(1 << 40)))))
        }
        points.sort { $0.byteCount < $1.byteCount }
        guard let curve = CostCurve(points: points) else {
            throw node.error("larger requests cost no less than smaller ones, and each size stands there once")
        }
        return curve
    }

    /// The run as it will be simulated.
    func scenario(at node: ScenarioNode) throws(StorageError) -> Scenario {
        guard let duration else { throw node.error("the key 'duration' is missing") }
        guard let cluster else { throw node.error("the key 'cluster' is missing") }
        guard !volumes.isEmpty else { throw node.error("the key 'volumes' is missing") }
        var scenario = Scenario(name: name, duration: duration, cluster: cluster, volumes: [])
        (scenario.window, scenario.seed) = (window, seed)
        (scenario.discipline, scenario.scheduler, scenario.curve) = (discipline, options, curve)
        scenario.scheduler.largestCost = curve.cost(of: 1 << 20)
        guard volumes.reduce(0, { $0 + $1.count }) <= 1_000_000 else { throw node.error("more than a million volumes") }
        for volume in volumes {
            let unlimited = VolumePolicy(try QoSPolicy())
            let policy = try volume.policy.map { node throws(StorageError) in try self.policy(node) }
            var group = VolumeGroup(name: volume.name, policy: policy ?? unlimited, workloads: volume.workloads)
            group.count = Int(volume.count)
            scenario.volumes.append(group)
        }
        var names = cluster.nodes.flatMap { group in (0..<group.count).map { group.nodeName($0) } }
        for node in events { scenario.events.append(try event(node, nodes: &names)) }
        return scenario
    }
}
