import BlockStorage

/// What a host needs of a device that it shares with others.
public struct CapacityUse: Sendable, Equatable, Codable {
    /// The sum of the minimums of the volumes that it has attached, in 4 KiB operations a second.
    public var minimum: UInt64
    /// What its volumes have asked for lately, let through or not, in 4 KiB operations a second.
    public var demand: UInt64

    public init(minimum: UInt64, demand: UInt64) { (self.minimum, self.demand) = (minimum, demand) }
}

/// Splits a device's capacity among the hosts that use it; implemented by whatever they have in common: an agent's
/// manager, a lock in the pool, a service.
///
/// Each host calls it every `τ` seconds with what it needs, sets its `ThrottleGroup` to the answer, and goes on with the
/// last answer for at most `τ` more when there is none; after that it falls back to its own minimums.
///
/// **How exact that is.** With a capacity of `C`, `n` hosts and shares of `CapacityShare.split`:
/// - together they are never granted more than `C`, if a share that shrinks takes effect before those that grow: no window
///   of `W` seconds has more than `C·(W + δ) + n·3·c`, with `δ` the lateness of a timer and `c` the largest request. A
///   coordinator that answers growth at once has up to `C·τ` more after each change;
/// - every host has the sum of its minimums whenever they all fit, without delay for those that it had counted at the last
///   exchange; a volume that is attached waits up to `τ` for its own to count;
/// - work conservation is what is given up: a host that begins to ask for more gets it after up to `τ`, so what is idle of
///   `C` meanwhile, at most `(C − Σ minimums)·τ` operations for each such change, is lost.
///
/// Where one volume is used by several hosts at once, its own limits need `ServiceElsewhere` as well.
public protocol CapacityCoordinator: Sendable {
    /// The host's share, in 4 KiB operations a second, until it asks again.
    func share(of host: String, _ use: CapacityUse) async throws(StorageError) -> UInt64
}

public enum CapacityShare {
    /// Every host's minimums first, in proportion where they do not fit; then what each asks for beyond, in proportion to
    /// minimums; then what nobody asks for, so that a host which begins to finds some. Adds up to no more than `capacity`.
    public static func split(_ capacity: UInt64, among hosts: [CapacityUse]) -> [UInt64] {
        let weights = hosts.map { Double(max(1, $0.minimum)) }
        var shares = FluidAllocator.fill(
            Double(capacity), caps: hosts.map { Double($0.minimum) }, weights: weights)
        for caps in [
            hosts.map { Double($0.demand) - Double(min($0.demand, $0.minimum)) }, hosts.map { _ in .infinity },
        ] {
            let more = FluidAllocator.fill(
                max(0, Double(capacity) - shares.reduce(0, +)), caps: caps, weights: weights)
            for index in shares.indices { shares[index] += more[index] }
        }
        // Rounded down, since rounding otherwise could pass the capacity; nothing smaller than an operation matters.
        return shares.map { UInt64(min($0, 1e18)) }
    }
}

extension ThrottleGroup {
    /// Asks the coordinator once, and keeps to its answer from now on. Call it every `τ` seconds.
    ///
    /// What the coordinator throws is thrown, and the capacity stays as it was.
    public func follow(
        _ coordinator: some CapacityCoordinator, as host: String, _ use: CapacityUse
    ) async throws(StorageError) {
        setCapacity(max(1, try await coordinator.share(of: host, use)))
    }
}
