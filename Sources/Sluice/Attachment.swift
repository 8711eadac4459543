import BlockStorage
import IORuntime
import Logging
import Metrics
import VolumeQoS

/// How a volume is attached.
public struct AttachOptions: Sendable {
    public var mode: Attachment.Mode
    /// Who holds the volume to its policy; nil for the storage itself where it can, and Sluice where it cannot.
    public var enforcer: QoSEnforcer?
    /// What the caches of this host's attached volumes may take together, in bytes: where the volume's own would exceed
    /// it, the volume is attached without one.
    public var cacheLimit: UInt64

    /// 128 volumes with librbd's 32 MiB each.
    public static let defaultCacheLimit: UInt64 = 4 << 30

    public init(
        mode: Attachment.Mode = .exclusive, enforcer: QoSEnforcer? = nil, cacheLimit: UInt64 = defaultCacheLimit
    ) {
        self.mode = mode
        self.enforcer = enforcer
        self.cacheLimit = cacheLimit
    }
}

/// A volume in use by this process: alone, or shared with other readers.
///
/// Other processes of the host see it in `StorageHost.runningAttachments`, and have what they want of an exclusively
/// attached volume (a snapshot, a resize) done by this process. It lasts until `detach`, or until the process dies: the
/// kernel drops its locks then, and the next process that looks removes what it left.
public final class Attachment: Sendable {
    public enum Mode: String, Codable, Sendable {
        /// One writer, alone.
        case exclusive
        /// Many readers, no writer.
        case readOnly
    }

    private struct State {
        let record: RunningAttachment
        /// Holds the lock that says that this process lives.
        let file: File
        var ending: Task<Result<Void, StorageError>, Never>?
        /// What else is published before metrics are collected.
        var publish: (@Sendable () -> Void)?
    }

    public let address: VolumeAddress
    public let mode: Mode
    /// Who holds the volume to its policy while it is attached here.
    public let enforcer: QoSEnforcer
    /// Measured under its name where the host has a metrics backend. `detach` closes it.
    public let volume: any Volume
    /// The volume and what it is built on, in one line: `metered(qcow2(file:/srv/fast/web, backing file:/srv/…))`.
    public var stack: String { volume.stack }
    /// The memory of the volume's own cache; nil where it has none by its nature.
    public let cache: CacheMemory?

    /// Where Sluice holds the volume to its policy.
    let throttle: AttachmentThrottle?
    private let host: StorageHost
    private let control: ControlServer?
    /// As the volume was opened in it.
    let pool: any StoragePool
    /// Nil where nothing is measured.
    private let poolMeter: Meter?
    private let state: Locked<State>

    /// Takes over an open volume and the file of the reserved record, and gives them up if that fails. Nobody sees the
    /// attachment before `publish`.
    init(
        _ opened: any Volume, of pool: any StoragePool, _ reserved: RunningAttachment, _ file: File, host: StorageHost
    ) async throws(StorageError) {
        let (address, mode, enforcer) = (reserved.address, reserved.mode, reserved.enforcer)
        let isMeasured = MeteredVolume.isMeasured(by: host.metrics)
        var volume = opened
        do throws(StorageError) {
            throttle = enforcer == .sluice ? try await AttachmentThrottle(opened, address, mode, pool, host) : nil
            if let throttle { volume = throttle.volume }
            if isMeasured {
                volume = MeteredVolume(
                    volume, volume: "\(address)", metrics: host.metrics, caching: opened as? any CachingVolume)
            }
        } catch {
            reserved.withdraw()
            try? await file.close()
            try? await opened.close()
            throw error
        }
        var record = reserved
        record.stack = volume.stack
        do throws(StorageError) {
            control =
                mode == .exclusive
                ? try await ControlServer.start(record.control, in: host.home.run) { [weak host] in
                    await host?.answer($0, on: address) ?? .failure(.init(Self.gone(address)))
                } : nil
        } catch {
            await throttle?.end()
            record.withdraw()
            try? await file.close()
            try? await volume.close()
            throw error
        }
        cache = record.cache
        (self.address, self.mode, self.enforcer, self.volume, self.host) = (address, mode, enforcer, volume, host)
        self.pool = pool
        poolMeter =
            isMeasured
            ? Meter(label: "sluice_pool_responding", dimensions: [("pool", address.pool)], factory: host.metrics) : nil
        state = Locked(State(record: record, file: file))
        publishMetrics()
    }

    private static func gone(_ address: VolumeAddress) -> StorageError {
        StorageError(.notAttached, "control volume", at: "\(address)", why: "it is being detached")
    }

    /// Lets the other processes of the host know, with the addresses of an export's clients.
    func publish(listeners: [String] = []) async throws(StorageError) {
        var (record, file) = state.withLock { ($0.record, $0.file) }
        record.listeners = listeners
        try await record.publish(in: file)
        host.attachments.withLock { $0[record.control] = self }
        host.log(.info, "attached", "attach volume", address, ["mode": "\(mode.rawValue)", "stack": "\(stack)"])
    }

    /// Publishes what is not published with each request; `more` from now on with it.
    func publishMetrics(with more: @escaping @Sendable () -> Void) {
        state.withLock { $0.publish = more }
    }

    fileprivate func publishMetrics() {
        (volume as? MeteredVolume)?.publish()
        throttle?.volume.publish()
        poolMeter?.set(pool.health == .healthy ? 1 : 0)
        state.withLock { $0.publish }?()
    }

    /// Flushes and closes the volume, and ends what others see of it. Requests in flight end first.
    ///
    /// Throws what the flush or the close throws, and has detached all the same. Detaching again waits for the first
    /// and ends as that does.
    public func detach() async throws(StorageError) {
        let task = state.withLock { state in
            let task = state.ending ?? Task { await self.end() }
            state.ending = task
            return task
        }
        try await task.value.get()
    }

    private func end() async -> Result<Void, StorageError> {
        await control?.stop()
        let (record, file) = state.withLock { ($0.record, $0.file) }
        record.withdraw()
        try? await file.close()
        host.attachments.withLock { attachments in _ = attachments.removeValue(forKey: record.control) }
        poolMeter?.destroy()
        do throws(StorageError) {
            try await volume.close()
            await throttle?.end()
        } catch {
            await throttle?.end()
            host.log(.error, "detached, but its last flush failed: \(error)", "detach volume", address)
            return .failure(error)
        }
        host.log(.info, "detached", "detach volume", address)
        return .success(())
    }
}

extension StorageHost {
    /// Opens a volume for one writer, or a volume, template or snapshot for readers, until `Attachment.detach`.
    ///
    /// A lazy volume is made now. Throws `busy`, naming the holder where it can be known, while another program has the
    /// volume open in a way that excludes this one; `readOnly` for a template or a snapshot that is to be written; and
    /// `notSupported` for an enforcer that cannot be.
    public func attach(
        _ volume: VolumeAddress, _ options: AttachOptions = AttachOptions()
    ) async throws(StorageError) -> Attachment {
        try await materialise(volume.volume)
        return try await withVolumes("attach volume", shared: [volume]) { () async throws(StorageError) in
            let attachment = try await prepareAttachment(volume, options)
            do throws(StorageError) {
                try await attachment.publish()
            } catch {
                try? await attachment.detach()
                throw error
            }
            return attachment
        }
    }

    /// Ends all that this process does with the volume. One that is not attached is detached already.
    public func detach(_ volume: VolumeAddress) async throws(StorageError) {
        let held = attachments.withLock { $0.values.filter { $0.address == volume } }
        var failure: StorageError?
        for attachment in held {
            do throws(StorageError) { try await attachment.detach() } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    /// An attachment that nobody sees yet. The lock of the volume is held until that is published.
    func prepareAttachment(
        _ volume: VolumeAddress, _ options: AttachOptions
    ) async throws(StorageError) -> Attachment {
        let pool = try await pool(volume.pool)
        let storage = pool.enforcer
        let enforcer = options.enforcer ?? (storage == .none ? .sluice : storage)
        // One layer enforces: no second one beside the storage, and none that does not exist.
        guard enforcer == storage || ([.hypervisor, .sluice].contains(enforcer) && storage == .none) else {
            throw StorageError(
                .notSupported, "attach volume", at: "\(volume)",
                why: "\(enforcer.rawValue) cannot enforce its policy: \(storage.rawValue) does")
        }
        var record = RunningAttachment(volume, mode: options.mode, enforcer: enforcer, directory: home.run)
        let file = try await reserve(&record, cacheLimit: options.cacheLimit)
        do throws(StorageError) {
            let pool = record.cache?.isRefused == true ? try await directPool(volume.pool) : pool
            let opened = try await open(volume, mode: options.mode == .exclusive ? .exclusive : .readOnly, in: pool)
            return try await Attachment(opened, of: pool, record, file, host: self)
        } catch {
            record.withdraw()
            try? await file.close()
            throw error
        }
    }

    /// Publishes what is not published with each request, such as lookups in caches: call it before metrics are
    /// collected.
    public func publishMetrics() {
        for attachment in attachments.withLock({ Array($0.values) }) { attachment.publishMetrics() }
    }

    /// The volume that this process has attached for writing.
    func attachedVolume(_ address: VolumeAddress) -> Attachment? {
        attachments.withLock { $0.values.first { $0.address == address && $0.mode == .exclusive } }
    }

    /// The reply to another process that wants something of a volume that this one holds.
    fileprivate func answer(_ request: ControlMessage.Request, on address: VolumeAddress) async -> VolumeReply {
        guard request.volume == "\(address)" else {
            return .failure(.init(StorageError(.conflict, "control volume", at: request.volume)))
        }
        do throws(StorageError) {
            return try await perform(request.request, on: address)
        } catch {
            return .failure(.init(error))
        }
    }
}
