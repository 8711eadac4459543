import BlockStorage
import Foundation

/// Workloads: what a file calls one may be several streams of requests.
extension ScenarioDraft {
    func workloads(_ node: ScenarioNode) throws(StorageError) -> [Workload] {
        guard node.isMapping else { throw node.error("a workload with its 'kind' is wanted") }
        guard let kind = try node.value(of: "kind")?.choice(WorkloadKind.self) else {
            throw node.error("the key 'kind' is missing")
        }
        // A phase has its length besides.
        let isPhase = node.path.contains(".phases[")
        let keys = try ScenarioMapping(node, keys: (ScenarioKeys.workloads[kind] ?? []) + (isPhase ? ["for"] : []))
        var workloads: [Workload]
        switch kind {
        case .idle: workloads = []
        case .closed: workloads = [try closed(keys)]
        case .steady, .poisson: workloads = [try open(keys, isPoisson: kind == .poisson)]
        case .bursts: workloads = [try bursts(keys)]
        case .diurnal: workloads = [try diurnal(keys)]
        case .bootStorm: workloads = [try bootStorm(keys)]
        case .backup: workloads = [try backup(keys)]
        case .database: workloads = try database(keys)
        case .trace: workloads = [try trace(keys)]
        case .phases: return try phases(keys)
        }
        let start = try keys["start"]?.time() ?? 0
        let stop = try keys["stop"]?.time() ?? .max
        guard start < stop else { throw node.error("it stops before it starts") }
        for index in workloads.indices {
            (workloads[index].start, workloads[index].stop) = (start, stop)
            if let value = keys["spread"] { workloads[index].spread = try value.time() }
        }
        return workloads
    }

    private func closed(_ keys: ScenarioMapping) throws(StorageError) -> Workload {
        let depth = Int(try keys["depth"]?.count(1...65_536) ?? 1)
        var workload = Workload(.closed(depth: depth, think: try keys["think"]?.time() ?? 0))
        try takeRequests(keys, &workload)
        if let value = keys["requests"] { workload.limit = try value.count(1...(1 << 40)) }
        return workload
    }

    private func rate(_ keys: ScenarioMapping) throws(StorageError) -> Workload.Rate {
        Workload.Rate(iops: try keys.required("rate").count(1...100_000_000))
    }

    private func open(_ keys: ScenarioMapping, isPoisson: Bool) throws(StorageError) -> Workload {
        var rate = try rate(keys)
        rate.isPoisson = isPoisson
        var workload = Workload(.open(rate))
        try takeRequests(keys, &workload)
        return workload
    }

    private func bursts(_ keys: ScenarioMapping) throws(StorageError) -> Workload {
        var workload: Workload
        switch (keys["rate"], keys["depth"]) {
        case (.some, nil): workload = Workload(.open(try rate(keys)))
        case (nil, let depth?): workload = Workload(.closed(depth: Int(try depth.count(1...65_536)), think: 0))
        default: throw keys.node.error("either 'rate' or 'depth' is wanted")
        }
        try takeRequests(keys, &workload)
        let (on, off) = (try keys.required("on").positiveTime(), try keys.required("off").time())
        workload.activity = Workload.Activity(active: on, cycle: on.saturatingSum(off))
        return workload
    }

    private func diurnal(_ keys: ScenarioMapping) throws(StorageError) -> Workload {
        var rate = try rate(keys)
        rate.swingPercent = try keys["swing"]?.percent() ?? 50
        if let value = keys["period"] { rate.period = try value.positiveTime() }
        if let value = keys["peak"] { rate.peak = try value.time() % rate.period }
        var workload = Workload(.open(rate))
        try takeRequests(keys, &workload)
        return workload
    }

    /// A guest boots: mostly small reads, one behind the other.
    private func bootStorm(_ keys: ScenarioMapping) throws(StorageError) -> Workload {
        var workload = Workload(.closed(depth: Int(try keys["depth"]?.count(1...65_536) ?? 4), think: 0))
        workload.sizes = [(4096, 55_000), (16_384, 25_000), (65_536, 15_000), (131_072, 5_000)].map {
            Workload.SizeShare(byteCount: $0, share: $1)
        }
        workload.readPercent = 92
        workload.limit = try keys["requests"]?.count(1...(1 << 40)) ?? 20_000
        return workload
    }

    /// A backup reads everything in large requests.
    private func backup(_ keys: ScenarioMapping) throws(StorageError) -> Workload {
        var workload = Workload(.closed(depth: Int(try keys["depth"]?.count(1...65_536) ?? 8), think: 0))
        let size = try keys["size"]?.requestSize() ?? 1 << 20
        workload.sizes = [Workload.SizeShare(byteCount: size)]
        let data = try keys.required("data").size()
        workload.limit = max(1, data / size)
        if let value = keys["every"] {
            let every = try value.positiveTime()
            workload.activity = Workload.Activity(active: every, cycle: every)
        }
        return workload
    }

    /// A database: pages of 8 KiB at random, a log that each transaction waits for, and checkpoints that write pages.
    private func database(_ keys: ScenarioMapping) throws(StorageError) -> [Workload] {
        let transactions = try keys.required("rate").count(1...10_000_000)
        var pages = Workload(.open(Workload.Rate(iops: transactions * 4)))
        pages.sizes = [Workload.SizeShare(byteCount: 8192)]
        pages.readPercent = 85
        var log = Workload(.open(Workload.Rate(iops: transactions)))
        log.readPercent = 0
        var checkpoint = Workload(.closed(depth: 32, think: 0))
        checkpoint.sizes = [Workload.SizeShare(byteCount: 16_384)]
        checkpoint.readPercent = 0
        let cycle = try keys["checkpoint-every"]?.positiveTime() ?? 60_000_000_000
        let active = try keys["checkpoint-for"]?.positiveTime() ?? 5_000_000_000
        guard active <= cycle else { throw keys.node.error("a checkpoint ends before the next one") }
        checkpoint.activity = Workload.Activity(active: active, cycle: cycle)
        return [pages, log, checkpoint]
    }

    private func trace(_ keys: ScenarioMapping) throws(StorageError) -> Workload {
        let file = try keys.required("file")
        // Beside the scenario.
        let directory = (path as NSString).deletingLastPathComponent
        let name = try file.text()
        let place = name.hasPrefix("/") ? name : (directory as NSString).appendingPathComponent(name)
        guard FileManager.default.fileExists(atPath: place) else { throw file.error("there is no file '\(place)'") }
        var source = TraceSource(path: place, format: try keys.required("format").choice(TraceFormat.self))
        source.volume = try keys["volume"]?.name()
        if let value = keys["speed"] { source.speedPercent = try value.percent(1...1_000_000) }
        if let value = keys["unit"] {
            guard source.format == .mqsim else { throw value.error("only MQSim's format leaves the unit of time open") }
            source.timeUnit = try value.positiveTime()
        }
        return Workload(.trace(source))
    }

    /// One workload after the other, over and over if it says so.
    private func phases(_ keys: ScenarioMapping) throws(StorageError) -> [Workload] {
        let list = try keys.required("phases")
        let start = try keys["start"]?.time() ?? 0
        let stop = try keys["stop"]?.time() ?? .max
        let repeats = try keys["repeat"]?.flag() ?? false
        var parts: [(start: UInt64, length: UInt64, workloads: [Workload])] = []
        var length: UInt64 = 0
        for node in try list.list() {
            guard let duration = try node.value(of: "for")?.positiveTime() else {
                throw node.error("the key 'for' is missing: how long the phase is")
            }
            // What has times of its own.
            for key in ["phases", "start", "stop", "spread", "on", "every", "checkpoint-every"] {
                if let value = node.value(of: key) { throw value.error("this has no place in a phase") }
            }
            parts.append((length, duration, try workloads(node)))
            length = length.saturatingSum(duration)
        }
        return parts.flatMap { part in
            part.workloads.map { workload in
                var workload = workload
                workload.start = start.saturatingSum(part.start)
                workload.stop = repeats ? stop : min(stop, workload.start.saturatingSum(part.length))
                if repeats { workload.activity = Workload.Activity(active: part.length, cycle: length) }
                return workload
            }
        }
    }

    /// Sizes, and how many read.
    private func takeRequests(_ keys: ScenarioMapping, _ workload: inout Workload) throws(StorageError) {
        if let value = keys["read"] { workload.readPercent = try value.percent() }
        guard let value = keys["size"] else { return }
        guard let pairs = value.pairs else {
            workload.sizes = [Workload.SizeShare(byteCount: try value.requestSize())]
            return
        }
        workload.sizes = []
        for (size, share) in pairs {
            workload.sizes.append(
                Workload.SizeShare(byteCount: try size.requestSize(), share: try share.percent() * 1000))
        }
        guard workload.sizes.reduce(0, { $0 + $1.share }) == 100_000 else {
            throw value.error("the shares of all sizes are to be 100 % together")
        }
    }
}
