/// Faults that calls meet, by method.
///
/// A fault lets some calls of its method pass, then takes a number of them, or all. Those that fail are not done; those
/// whose answer is dropped are.
public struct FaultPlan: Sendable {
    public struct Fault: Sendable, Hashable {
        /// `*` for any.
        public var method: String
        public var effect: Effect
        /// How many calls pass first.
        public var after = 0
        /// How many it takes then; nil for all.
        public var count: Int?

        public init(method: String, effect: Effect, after: Int = 0, count: Int? = nil) {
            self.method = method
            self.effect = effect
            self.after = after
            self.count = count
        }
    }

    public enum Effect: Sendable, Hashable {
        /// The call is not done, and answers an error of this name.
        case fail(String)
        /// The call is done; its answer comes so many seconds late.
        case delay(Double)
        /// The call is done; the connection ends without an answer.
        case drop
        /// The clone that the call begins ends with an error of this name, which stands beside the status `complete`.
        case failJob(String)
        /// The clone that the call begins ends with the status `error`, and an error of this name as its result.
        case errorJob(String)
        /// The clone that the call begins never ends.
        case endlessJob
    }

    /// What becomes of a clone.
    struct JobFault: Sendable, Hashable {
        var error: ElementError?
        var isEndless = false
        /// Whether the status tells the error: `CloneJob.hasErrorStatus`.
        var hasErrorStatus = false
    }

    /// What one call meets.
    struct Encounter: Sendable, Hashable {
        var error: ElementError?
        var delay = 0.0
        var drops = false
        var job: JobFault?
    }

    public private(set) var faults: [Fault] = []

    public init(_ faults: [Fault] = []) { self.faults = faults }

    /// No more than this at a time: the oldest goes.
    static let largestCount = 1000

    public mutating func add(_ fault: Fault) {
        if faults.count >= Self.largestCount { faults.removeFirst() }
        faults.append(fault)
    }

    /// Removes the faults of a method, or all for nil.
    public mutating func remove(_ method: String?) { faults.removeAll { method == nil || $0.method == method } }

    /// What a call of `method` meets; it is counted. Faults that are used up are gone.
    mutating func encounter(_ method: String) -> Encounter {
        var encounter = Encounter()
        for index in faults.indices where faults[index].method == method || faults[index].method == "*" {
            guard faults[index].after == 0 else {
                faults[index].after -= 1
                continue
            }
            if let count = faults[index].count { faults[index].count = count - 1 }
            switch faults[index].effect {
            case .fail(let name): encounter.error = encounter.error ?? ElementError(name, "A fault of the simulator")
            case .delay(let seconds): encounter.delay += seconds
            case .drop: encounter.drops = true
            case .failJob(let name): encounter.job = JobFault(error: ElementError(name, "A fault of the simulator"))
            case .errorJob(let name):
                encounter.job = JobFault(error: ElementError(name, "A fault of the simulator"), hasErrorStatus: true)
            case .endlessJob: encounter.job = JobFault(isEndless: true)
            }
        }
        faults.removeAll { $0.count == 0 }
        return encounter
    }
}

extension FaultPlan.Fault {
    /// A fault as the command line has it: `METHOD:EFFECT[,after=N][,count=N]` with the effect one of `fail=NAME`,
    /// `delay=SECONDS`, `drop`, `job=NAME`, `error=NAME` and `endless`. Nil for any other text.
    public init?(_ text: String) {
        let halves = text.split(separator: ":", maxSplits: 1).map(String.init)
        guard halves.count == 2, let method = halves.first, let settings = halves.last else { return nil }
        var values: [String: JSONValue] = ["method": .string(method)]
        for setting in settings.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = setting.split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first, values[name] == nil else { return nil }
            let value = parts.count == 2 ? parts.last : nil
            switch (name, value) {
            case ("drop", nil), ("endless", nil): values[name] = true
            case ("fail", let value?), ("job", let value?), ("error", let value?): values[name] = .string(value)
            case ("delay", let value?): values[name] = Double(value).map { .number($0) }
            case ("after", let value?), ("count", let value?): values[name] = Int(value).map { .integer($0) }
            default: return nil
            }
            guard values[name] != nil else { return nil }
        }
        var parameters = Parameters(values)
        guard let fault = try? Self(&parameters) else { return nil }
        self = fault
    }

    /// The same as members of an object.
    init(_ parameters: inout Parameters) throws(ElementError) {
        method = try parameters.required("method")
        after = try parameters.optional("after") ?? 0
        count = try parameters.optional("count")
        var effects: [FaultPlan.Effect] = []
        if let name: String = try parameters.optional("fail") { effects.append(.fail(name)) }
        if let name: String = try parameters.optional("job") { effects.append(.failJob(name)) }
        if let name: String = try parameters.optional("error") { effects.append(.errorJob(name)) }
        if try parameters.optional("drop") ?? false { effects.append(.drop) }
        if try parameters.optional("endless") ?? false { effects.append(.endlessJob) }
        if let seconds: Double = try parameters.optional("delay") {
            guard (0...86_400).contains(seconds) else { throw .invalid("delay is 0 to 86400 seconds") }
            effects.append(.delay(seconds))
        }
        guard let effect = effects.first, effects.count == 1 else {
            throw .invalid("a fault is one of fail, delay, drop, job, error and endless")
        }
        guard after >= 0, count ?? 1 > 0 else { throw .invalid("after is not negative, and count not less than 1") }
        self.effect = effect
    }

    var json: JSONValue {
        var members: [String: JSONValue] = ["method": .string(method), "after": .integer(after)]
        if let count { members["count"] = .integer(count) }
        switch effect {
        case .fail(let name): members["fail"] = .string(name)
        case .failJob(let name): members["job"] = .string(name)
        case .errorJob(let name): members["error"] = .string(name)
        case .drop: members["drop"] = true
        case .endlessJob: members["endless"] = true
        case .delay(let seconds): members["delay"] = .number(seconds)
        }
        return .object(members)
    }
}
