import Foundation

/// Of how many points the sweeps take one: each, or as SLUICE_SWEEP_STEP says, for runs that have less time.
enum SweepStep {
    static let value = max(1, ProcessInfo.processInfo.environment["SLUICE_SWEEP_STEP"].flatMap { Int($0) } ?? 1)

    /// Of all points.
    static var points: some Sequence<Int> { sequence(first: 1) { $0 + value } }
}
