import BlockStorage

/// A promise and the steps that test it.
struct ConformanceTest: Sendable {
    /// `group/test`.
    let name: String
    let summary: String
    let needs: [Capability.Feature]
    /// Run once for each format of the pool.
    let isPerFormat: Bool
    let body: @Sendable (ConformanceContext) async throws -> Void

    init(
        _ name: String, _ summary: String, needs: [Capability.Feature] = [], perFormat: Bool = true,
        _ body: @escaping @Sendable (ConformanceContext) async throws -> Void
    ) {
        self.name = name
        self.summary = summary
        self.needs = needs
        isPerFormat = perFormat
        self.body = body
    }

    static let all = lifecycle + errors + data + sharing + attachment + admission
}

/// A promise that was not kept.
struct ConformanceFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Found while a test runs: the pool rightly refuses what the test is about.
struct NotCapable: Error {
    let reason: String
}

/// Fails the test unless `condition` holds.
func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws(ConformanceFailure) {
    if !condition { throw ConformanceFailure(message()) }
}

/// Fails the test unless the two are the same.
func expectEqual<Value: Equatable>(
    _ found: Value, _ expected: Value, _ what: @autoclosure () -> String
) throws(ConformanceFailure) {
    if found != expected { throw ConformanceFailure("\(what()): expected \(expected), found \(found)") }
}

/// Fails the test unless `body` throws a `StorageError` with one of `codes`.
func expectError<Result>(
    _ codes: StorageError.Code..., from what: String, _ body: () async throws -> Result
) async throws {
    let names = codes.map(\.rawValue).joined(separator: " or ")
    do {
        _ = try await body()
    } catch let error as StorageError {
        try expect(codes.contains(error.code), "\(what) must throw \(names), not '\(error)'")
        return
    }
    throw ConformanceFailure("\(what) must throw \(names), but succeeds")
}
