import BlockStorage
import IORuntime
import Metrics
import NBDExport
import VolumeQoS

/// Where and how a volume is exported.
public struct ExportOptions: Sendable {
    /// NBD listens on each of these; at least one.
    public var addresses: [Socket.Address]
    /// Share the volume with other readers instead of holding it alone. Always so for a snapshot.
    public var isReadOnly: Bool
    /// Let hosts beyond loopback connect, without encryption or authentication.
    public var allowsInsecureRemote: Bool
    /// Who holds the volume to its policy; see `AttachOptions`.
    public var enforcer: QoSEnforcer?
    /// What the caches of this host's attached volumes may take together, in bytes; see `AttachOptions`.
    public var cacheLimit: UInt64

    public init(
        addresses: [Socket.Address], isReadOnly: Bool = false, allowsInsecureRemote: Bool = false,
        enforcer: QoSEnforcer? = nil, cacheLimit: UInt64 = AttachOptions.defaultCacheLimit
    ) {
        self.addresses = addresses
        self.isReadOnly = isReadOnly
        self.allowsInsecureRemote = allowsInsecureRemote
        self.enforcer = enforcer
        self.cacheLimit = cacheLimit
    }
}

/// A volume that this process exports over NBD: an attachment that clients reach through sockets.
public final class VolumeExport: Sendable {
    public let attachment: Attachment
    /// Where clients connect, with the ports that the system chose.
    public let listeners: [Socket.Address]
    private let server: NBDServer
    private let clients: Meter

    public var address: VolumeAddress { attachment.address }

    private init(
        _ attachment: Attachment, _ server: NBDServer, _ listeners: [Socket.Address], _ metrics: any MetricsFactory
    ) {
        (self.attachment, self.server, self.listeners) = (attachment, server, listeners)
        let clients = Meter(
            label: "sluice_export_clients", dimensions: [("volume", "\(attachment.address)")], factory: metrics)
        self.clients = clients
        attachment.publishMetrics { clients.set(server.statistics.connections) }
    }

    /// Exports an attached volume, and detaches it if that fails.
    fileprivate static func start(
        _ attachment: Attachment, _ options: ExportOptions, host: StorageHost
    ) async throws(StorageError) -> VolumeExport {
        var started: NBDServer?
        do throws(StorageError) {
            let export = try NBDServer.Export(
                name: "\(attachment.address)", volume: attachment.volume, isReadOnly: attachment.mode == .readOnly)
            let server = NBDServer(exports: [export], logger: host.logger(for: "serve", attachment.address))
            started = server
            var listeners: [Socket.Address] = []
            for wanted in options.addresses {
                listeners.append(
                    try await server.listen(on: wanted, allowsInsecureRemote: options.allowsInsecureRemote))
            }
            try await attachment.publish(listeners: listeners.map(\.description))
            return VolumeExport(attachment, server, listeners, host.metrics)
        } catch {
            try? await started?.stop()
            try? await attachment.detach()
            throw error
        }
    }

    /// Answers the requests in flight, disconnects clients, flushes and closes the volume. Throws what the flush or
    /// the close throws, and has ended everything all the same.
    public func stop() async throws(StorageError) {
        var failure: StorageError?
        // Or the clients' requests would end no sooner than the volume's limits let them.
        attachment.throttle?.volume.release()
        do throws(StorageError) { try await server.stop() } catch { failure = error }
        do throws(StorageError) { try await attachment.detach() } catch { failure = failure ?? error }
        clients.destroy()
        if let failure { throw failure }
    }
}

extension StorageHost {
    /// Attaches a volume for one writer, or a snapshot for readers, and exports it over NBD under the name
    /// `POOL/NAME[@SNAPSHOT]`, which is the default export as well.
    public func exportVolume(
        _ volume: VolumeAddress, _ options: ExportOptions
    ) async throws(StorageError) -> VolumeExport {
        guard !options.addresses.isEmpty else {
            throw StorageError(.invalidArgument, "export volume", at: "\(volume)", why: "it needs an address")
        }
        let isShared = options.isReadOnly || volume.snapshot != nil
        try await materialise(volume.volume)
        return try await withVolumes("export volume", shared: [volume]) { () async throws(StorageError) in
            let attachment = try await prepareAttachment(
                volume,
                AttachOptions(
                    mode: isShared ? .readOnly : .exclusive, enforcer: options.enforcer, cacheLimit: options.cacheLimit)
            )
            return try await VolumeExport.start(attachment, options, host: self)
        }
    }
}
