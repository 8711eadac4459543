/// The keys of a scenario file, in the order of the published schema.
enum ScenarioKeys {
    static let run = [
        "name", "about", "duration", "window", "seed", "scheduler", "cluster", "policies", "volumes", "events",
    ]
    static let file = run + ["checks", "runs", "search"]
    static let scheduler = ["kind", "accrual", "burst-time", "costs"]
    static let cluster = ["nodes", "copies", "data", "recovery", "failover"]
    static let recovery = ["share", "request-size"]
    static let node = [
        "name", "count", "iops", "capacity", "slots", "latency", "read-latency", "write-latency", "weight",
    ]
    static let policy = ["minimum", "maximum", "burst", "credit", "limiter", "burst-length", "request-size"]
    static let volume = ["name", "count", "policy", "workload"]
    static let event = ["at", "lose", "restore", "expand", "set-policy"]
    static let setPolicy = ["volume", "policy"]
    static let check = [
        "metric", "volume", "run", "during", "at-least", "at-most", "about", "tolerance",
    ]
    static let search = ["add", "most", "run"]

    private static let common = ["kind", "start", "stop"]
    private static let requests = ["size", "read"]
    static let workloads: [WorkloadKind: [String]] = [
        .idle: common,
        .closed: common + requests + ["depth", "think", "spread", "requests"],
        .steady: common + requests + ["rate", "spread"],
        .poisson: common + requests + ["rate", "spread"],
        .bursts: common + requests + ["rate", "depth", "on", "off", "spread"],
        .diurnal: common + requests + ["rate", "swing", "period", "peak"],
        .bootStorm: common + ["spread", "requests", "depth"],
        .backup: common + ["size", "data", "depth", "every", "spread"],
        .database: common + ["rate", "checkpoint-every", "checkpoint-for"],
        .trace: common + ["file", "format", "volume", "speed", "unit"],
        .phases: common + ["phases", "repeat"],
    ]
}

/// The kinds of workload that a scenario file names.
enum WorkloadKind: String, CaseIterable {
    case idle, closed, steady, poisson, bursts, diurnal
    case bootStorm = "boot-storm"
    case backup, database, trace, phases
}
