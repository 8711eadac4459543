import BlockStorage
import Foundation
import IORuntime
import Testing

/// Random cases: `count` of them, or as many as fit `SLUICE_FUZZ_SECONDS`, by `SLUICE_FUZZ_SEED`.
enum RandomCases {
    private static let environment = ProcessInfo.processInfo.environment

    /// `body` returns what is wrong with a case, and nil where all is right.
    static func run(_ seed: UInt64, count: Int, _ body: (inout SeededGenerator) -> String?) {
        let seconds = environment["SLUICE_FUZZ_SECONDS"].flatMap { UInt64($0) }
        let seed = seed ^ (environment["SLUICE_FUZZ_SEED"].flatMap { UInt64($0) } ?? 0)
        let end = MonotonicTime.nanoseconds() + (seconds ?? 0) * 1_000_000_000
        var random = SeededGenerator(seed: seed)
        var number = 0
        var failures = 0
        while seconds == nil ? number < count : MonotonicTime.nanoseconds() < end {
            if let failure = body(&random) {
                failures += 1
                if failures <= 3 { Issue.record("case \(number) of seed \(seed): \(failure)") }
            }
            number += 1
        }
        #expect(failures == 0, "of \(number) cases")
    }
}
