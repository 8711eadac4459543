import Foundation

/// Which points the sweeps take.
enum SweepStep {
    /// Of how many points one: each, or as SLUICE_SWEEP_STEP says, for runs that have less time.
    private static let value = max(1, ProcessInfo.processInfo.environment["SLUICE_SWEEP_STEP"].flatMap { Int($0) } ?? 1)

    /// From the first on, without an end.
    static var points: some Sequence<Int> { sequence(first: 1) { $0 + value } }
}
