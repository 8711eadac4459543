import BlockStorage

/// The tests that every storage pool passes, written once.
///
/// Each test states a promise of `StoragePool` or `Volume` and is gated by what the pool declares: a test of something
/// that the pool cannot do is reported as `notCapable`, and the pool must then refuse that thing with `notSupported`.
/// A driver's test suite runs them all with one line:
///
/// ```swift
/// let results = try await PoolConformance(pool).run()
/// #expect(results.filter { $0.outcome == .failed }.isEmpty)
/// ```
///
/// Tests only touch volumes and templates that they made, under a prefix of their own, and remove them whatever happens.
public struct PoolConformance: Sendable {
    /// How the tests are run.
    public struct Options: Sendable {
        /// The size of test volumes, in bytes; nil for 4 MiB, or what the pool makes of them.
        public var volumeSize: UInt64?
        /// Makes the pseudo-random patterns and offsets repeatable.
        public var seed: UInt64 = 1
        /// What volumes and templates made by the tests begin with.
        public var namePrefix = "conformance-"
        /// Puts an open volume behind a transport, for example an NBD export and its client. Closing what it returns
        /// closes the volume.
        public var transport: @Sendable (any Volume) async throws(StorageError) -> any Volume
        /// Opens the pool under test once more, as another host with these limits does; nil where that cannot be. Other
        /// volumes must not come or go meanwhile.
        public var limited: (@Sendable (PoolLimits) async throws(StorageError) -> any StoragePool)?

        /// 4 MiB volumes, used directly.
        public init() {
            transport = { (volume) async throws(StorageError) in volume }
        }
    }

    let pool: any StoragePool
    let options: Options

    /// The tests for `pool`.
    public init(_ pool: any StoragePool, options: Options = Options()) {
        self.pool = pool
        self.options = options
    }

    /// What is run, in order: one case for each test and, where formats matter, for each format of the pool.
    public var list: [ConformanceCase] {
        ConformanceTest.all.flatMap { test in
            test.isPerFormat
                ? pool.formats.map { ConformanceCase(test: test, format: $0) }
                : [ConformanceCase(test: test, format: nil)]
        }
    }

    /// Runs the cases that `only` selects by name, by test (`data/clone` for `data/clone[qcow2]`) or by group (`data`);
    /// all when it is empty. Calls `progress` after each.
    ///
    /// Throws `invalidArgument` when nothing matches one of `only`.
    public func run(
        only: [String] = [], progress: (ConformanceResult) async -> Void = { _ in }
    ) async throws(StorageError) -> [ConformanceResult] {
        let cases = list
        for selection in only where !cases.contains(where: { $0.matches(selection) }) {
            throw StorageError(
                .invalidArgument, "run conformance tests", at: "'\(selection)'", why: "no test or group has that name")
        }
        var options = options
        options.volumeSize = try await volumeSize()
        var results: [ConformanceResult] = []
        for (index, selected) in cases.enumerated()
        where only.isEmpty || only.contains(where: selected.matches) {
            let result = await run(selected, options, seed: options.seed &+ UInt64(index))
            results.append(result)
            await progress(result)
        }
        return results
    }

    static let usualSize: UInt64 = 4 << 20

    /// Arrays have a smallest size, and round others.
    private func volumeSize() async throws(StorageError) -> UInt64 {
        if let size = options.volumeSize { return size }
        let name = "\(options.namePrefix)\(String(UInt32.random(in: 0...UInt32.max), radix: 36))-size"
        do throws(StorageError) {
            let format = pool.formats.first ?? .raw
            let made = try await pool.createVolume(name, CreateRequest(size: Self.usualSize, format: format))
            try await pool.deleteVolume(name, policy: .refuse)
            return made.virtualSize
        } catch {
            // A pool that cannot make one shows that in the tests.
            try? await pool.deleteVolume(name, policy: .refuse)
            return Self.usualSize
        }
    }

    private func run(_ selected: ConformanceCase, _ options: Options, seed: UInt64) async -> ConformanceResult {
        if let missing = selected.test.needs.first(where: { !pool.can($0, selected.format) }) {
            return ConformanceResult(selected.name, .notCapable, "the pool does not declare \(missing.rawValue)")
        }
        let context = ConformanceContext(pool, options, format: selected.format, seed: seed)
        var result = ConformanceResult(selected.name, .passed, nil)
        do {
            try await selected.test.body(context)
        } catch let error as NotCapable {
            result = ConformanceResult(selected.name, .notCapable, error.reason)
        } catch {
            result = ConformanceResult(selected.name, .failed, "\(error)")
        }
        let leftovers = await context.cleanUp()
        if result.outcome != .failed, let leftover = leftovers.first {
            result = ConformanceResult(selected.name, .failed, "could not clean up: \(leftover)")
        }
        return result
    }
}

/// A test, for one format or for the pool as a whole.
public struct ConformanceCase: Sendable {
    let test: ConformanceTest
    let format: VolumeFormat?

    /// `group/test` or `group/test[format]`.
    public var name: String { format.map { "\(test.name)[\($0.rawValue)]" } ?? test.name }
    /// The promise under test, as a sentence.
    public var summary: String { test.summary }
    /// What the pool must declare for the test to be run.
    public var needs: [Capability.Feature] { test.needs }

    func matches(_ selection: String) -> Bool {
        selection == name || selection == test.name || test.name.hasPrefix(selection + "/")
    }
}

/// How one case ended.
public struct ConformanceResult: Equatable, Sendable {
    /// The ways in which a case ends.
    public enum Outcome: String, Sendable { case passed, failed, notCapable }

    public var name: String
    public var outcome: Outcome
    /// Why it failed or was not run; nil when it passed.
    public var reason: String?

    init(_ name: String, _ outcome: Outcome, _ reason: String?) {
        self.name = name
        self.outcome = outcome
        self.reason = reason
    }
}
