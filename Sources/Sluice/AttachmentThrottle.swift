import BlockStorage
import IORuntime
import Logging
import VolumeQoS

/// What holds an attached volume to its policy, and keeps the burst that it has saved.
final class AttachmentThrottle: Sendable {
    let volume: ThrottledVolume

    /// A process that dies takes with it what it has not saved, and saves no more than it cannot have spent by then.
    private static let savesEvery = Duration.seconds(20)

    private let address: VolumeAddress
    private let host: StorageHost
    private let pool: any StoragePool
    private let mode: Attachment.Mode
    private let policy: Locked<QoSPolicy?>
    private let saver = Locked<Task<Void, Never>?>(nil)

    /// Throttles an open volume by the policy that the pool keeps with it, together with all others of its pool that this
    /// host has attached.
    init(
        _ opened: any Volume, _ address: VolumeAddress, _ mode: Attachment.Mode, _ pool: any StoragePool,
        _ host: StorageHost
    ) async throws(StorageError) {
        // What a snapshot holds has no policy of its own.
        let policy = address.snapshot == nil ? try await pool.describeVolume(address.name).qos : nil
        // Readers that share a volume have no burst: what is saved is its writer's.
        let credit = mode == .exclusive ? try await host.catalog.burstCredit(of: address) : 0
        let group = try await host.throttleGroup(address.pool)
        volume = ThrottledVolume(
            opened, policy ?? .unlimited, in: group, credit: credit, volume: "\(address)",
            metrics: MeteredVolume.isMeasured(by: host.metrics) ? host.metrics : nil)
        (self.address, self.host, self.policy) = (address, host, Locked(policy))
        (self.mode, self.pool) = (mode, pool)
        guard address.snapshot == nil else { return }
        saver.withLock { saver in
            saver = Task { [weak self] in
                while !Task.isCancelled {
                    guard let throttle = self else { return }
                    await throttle.lookAfter()
                    try? await Task.sleep(for: Self.savesEvery)
                }
            }
        }
    }

    /// Another policy, or none, from now on.
    func setPolicy(_ policy: QoSPolicy?) {
        self.policy.withLock { $0 = policy }
        volume.setPolicy(policy)
    }

    /// What is done now and then. Another process that changes the policy tells the volume's writer; readers look.
    private func lookAfter() async {
        if mode == .exclusive { return await saveUnspent() }
        guard let found = try? await pool.describeVolume(address.name) else { return }
        if found.qos != policy.withLock({ $0 }) { setPolicy(found.qos) }
    }

    /// Saves what is left until the next time whatever happens until then.
    private func saveUnspent() async {
        guard let policy = policy.withLock({ $0 }), let burst = policy.burstIOPS, let maximum = policy.maxIOPS else {
            return await save(0)
        }
        let seconds = UInt64(Self.savesEvery.components.seconds + 1) * UInt64(CostCurve.unit)
        let (spent, overflow) = (burst - min(burst, maximum)).multipliedReportingOverflow(by: seconds)
        let credit = volume.statistics.credit
        await save(overflow ? 0 : max(0, credit - min(credit, Int64(clamping: spent))))
    }

    /// Once the volume is closed: saves what is left.
    func end() async {
        guard address.snapshot == nil else { return }
        let task = saver.withLock { $0.take() }
        task?.cancel()
        await task?.value
        if mode == .exclusive { await save(volume.statistics.credit) }
    }

    private func save(_ credit: Int64) async {
        do throws(StorageError) {
            guard try await host.catalog.burstCredit(of: address) != credit else { return }
            try await host.catalog.saveBurstCredit(credit, of: address)
        } catch {
            host.log(.warning, "saved burst may be lost: \(error)", "save burst credit", address)
        }
    }
}

extension StorageHost {
    /// What the attached volumes of a pool share: the pool's IOPS capacity, where it was registered with one.
    func throttleGroup(_ pool: String) async throws(StorageError) -> ThrottleGroup {
        let capacity = try await catalog.pool(pool)?.capacityIOPS.flatMap { UInt64(exactly: $0) }
        let group = throttles.withLock { throttles in
            if let group = throttles[pool] { return group }
            var options = ThrottleGroup.Options()
            // A guest's disk must not fail because its policy is low.
            options.deadline = .seconds(86_400)
            let group = ThrottleGroup(options)
            throttles[pool] = group
            return group
        }
        // It may have been registered anew, with another.
        group.setCapacity(capacity)
        return group
    }
}
