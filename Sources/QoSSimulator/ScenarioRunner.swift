import BlockStorage

/// What all runs of a scenario file came to.
public struct ScenarioReport: Sendable {
    public var name: String
    public var text: String
    public var runs: [RunResult]
    public var search: SearchResult?
    public var searchChecks: [CheckResult]

    /// Every check, with the run that it is about.
    public var checks: [(run: String, result: CheckResult)] {
        runs.flatMap { run in run.checks.map { (run.name, $0) } } + searchChecks.map { ("search", $0) }
    }

    /// Whether every check has passed.
    public var passed: Bool { checks.allSatisfy { $0.result.passed } }
}

/// What a capacity search found.
public struct SearchResult: Sendable {
    public var group: String
    public var run: String
    /// How many more volumes there is room for.
    public var more: Int
    /// Why one more is too many; nil where the search ended before.
    public var reason: String?
    /// Runs that it took.
    public var runs: Int
}

extension ScenarioFile {
    /// What is being simulated, and how far it is.
    public struct Progress: Sendable {
        /// The run's name, or that of the search.
        public var phase: String
        public var simulation: Simulation.Progress
    }

    /// Simulates every run, and searches. Throws what reading a trace throws.
    public func run(progress: (Progress) -> Void = { _ in }) throws(StorageError) -> ScenarioReport {
        var results: [RunResult] = []
        for scenario in runs {
            var simulation = try Simulation(scenario)
            results.append(try simulation.run { progress(Progress(phase: scenario.name, simulation: $0)) })
        }
        let found = try search.flatMap { search throws(StorageError) in try run(search, progress) }
        return ScenarioReport(
            name: name, text: text, runs: results, search: found,
            searchChecks: searchChecks.map { check in
                CheckResult(check, measured: found.map { Double($0.more)...Double($0.more) })
            })
    }

    /// Doubles the number of volumes until a minimum breaks, and then halves the distance.
    private func run(_ search: CapacitySearch, _ progress: (Progress) -> Void) throws(StorageError) -> SearchResult? {
        guard var scenario = runs.first(where: { $0.name == search.run }),
            let group = scenario.volumes.firstIndex(where: { $0.name == search.group })
        else { return nil }
        scenario.checks = []
        let count = scenario.volumes[group].count
        var runCount = 0
        func complaint(_ more: Int) throws(StorageError) -> String? {
            var scenario = scenario
            scenario.volumes[group].count = count + more
            runCount += 1
            var simulation = try Simulation(scenario)
            let result = try simulation.run { progress(Progress(phase: "search with \(more) more", simulation: $0)) }
            guard
                let worst = result.volumes.filter({ $0.missedWindows > 0 }).max(by: {
                    $0.missedWindows < $1.missedWindows
                })
            else { return nil }
            let lowest = worst.lowestAttainment.map { ", once only \(decimal($0, 1)) % of it" } ?? ""
            return "\(worst.name) misses its minimum in \(worst.missedWindows) windows\(lowest)"
        }
        var (good, bad) = (-1, search.most + 1)
        var reason: String?
        var step = 0
        while bad - good > 1 {
            let more = bad > search.most && step <= search.most ? max(step, good + 1) : (good + bad) / 2
            if let found = try complaint(more) {
                (bad, reason) = (more, found)
            } else {
                good = more
            }
            step = step == 0 ? 1 : step * 2
        }
        return SearchResult(
            group: search.group, run: search.run ?? "", more: max(0, good), reason: reason, runs: runCount)
    }
}

/// A number with so many decimals, rounded, the same on every machine.
func decimal(_ value: Double, _ decimals: Int) -> String {
    guard value.isFinite else { return "-" }
    var factor = 1.0
    for _ in 0..<decimals { factor *= 10 }
    let scaled = (abs(value) * factor).rounded()
    guard scaled < 9e18 else { return "\(value)" }
    let number = UInt64(scaled)
    let divisor = UInt64(factor)
    let sign = value < 0 && number > 0 ? "-" : ""
    guard decimals > 0 else { return "\(sign)\(number)" }
    let fraction = String(number % divisor)
    return "\(sign)\(number / divisor).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
}

/// The same, with commas between thousands.
func grouped(_ value: Double, _ decimals: Int) -> String {
    let text = decimal(value, decimals)
    let digits = text.prefix { $0.isNumber }
    var result = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { result += "," }
        result.append(digit)
    }
    return result + text.dropFirst(digits.count)
}
