import BlockStorage
import Foundation
import IORuntime
import NBDExport

/// Where and how a volume is exported.
public struct ExportOptions: Sendable {
    /// NBD listens on each of these; at least one.
    public var addresses: [Socket.Address]
    /// Share the volume with other readers instead of holding it alone. Always so for a snapshot.
    public var isReadOnly: Bool
    /// Let hosts beyond loopback connect, without encryption or authentication.
    public var allowsInsecureRemote: Bool

    public init(addresses: [Socket.Address], isReadOnly: Bool = false, allowsInsecureRemote: Bool = false) {
        self.addresses = addresses
        self.isReadOnly = isReadOnly
        self.allowsInsecureRemote = allowsInsecureRemote
    }
}

/// A volume that this process exports over NBD, and that other processes of this host reach through it.
public final class VolumeExport: Sendable {
    public let address: VolumeAddress
    /// Where clients connect, with the ports that the system chose.
    public let listeners: [Socket.Address]
    let volume: any Volume
    private let host: StorageHost
    private let server: NBDServer
    private let control: ControlServer?
    private let record: RunningExport
    /// Holds the lock that says that this process lives.
    private let recordFile: File

    private init(
        _ host: StorageHost, _ address: VolumeAddress, _ volume: any Volume, _ server: NBDServer,
        _ listeners: [Socket.Address], _ control: ControlServer?, _ record: RunningExport, _ recordFile: File
    ) {
        (self.host, self.address, self.volume, self.server) = (host, address, volume, server)
        (self.listeners, self.control, self.record, self.recordFile) = (listeners, control, record, recordFile)
    }

    /// Exports an open volume, and closes it if that fails.
    static func start(
        _ address: VolumeAddress, _ volume: any Volume, _ options: ExportOptions, host: StorageHost
    ) async throws(StorageError) -> VolumeExport {
        let isShared = options.isReadOnly || address.snapshot != nil
        var undo: [() async -> Void] = [{ try? await volume.close() }]
        do throws(StorageError) {
            try StorageHome.makeDirectory(host.home.run)
            let server = NBDServer(
                exports: [try .init(name: "\(address)", volume: volume, isReadOnly: isShared)], logger: host.logger)
            // The control socket is there before anyone can see the export.
            let controlName = "\(UUID().uuidString).sock"
            var control: ControlServer?
            if !isShared {
                let started = try await ControlServer.start(controlName, in: host.home.run) { [weak host] request in
                    guard let host, request.volume == "\(address)" else {
                        return .failure(.init(StorageError(.conflict, "control volume", at: request.volume)))
                    }
                    do throws(StorageError) {
                        return try await host.perform(request.request, on: address)
                    } catch {
                        return .failure(.init(error))
                    }
                }
                undo.append { await started.stop() }
                control = started
            }
            undo.append { try? await server.stop() }
            var listeners: [Socket.Address] = []
            for wanted in options.addresses {
                listeners.append(
                    try await server.listen(on: wanted, allowsInsecureRemote: options.allowsInsecureRemote))
            }
            let record = RunningExport(
                address, mode: isShared ? .readOnly : .exclusive, listeners: listeners.map(\.description),
                control: controlName, directory: host.home.run)
            let recordFile = try await record.publish()
            return VolumeExport(host, address, volume, server, listeners, control, record, recordFile)
        } catch {
            for step in undo.reversed() { await step() }
            throw error
        }
    }

    /// Answers the requests in flight, disconnects clients, flushes and closes the volume. Throws what the flush or
    /// the close throws, and has ended everything all the same.
    public func stop() async throws(StorageError) {
        var failure: StorageError?
        do throws(StorageError) { try await server.stop() } catch { failure = error }
        await control?.stop()
        record.withdraw()
        try? await recordFile.close()
        host.exports.withLock { exports in _ = exports.removeValue(forKey: "\(address)") }
        do throws(StorageError) { try await volume.close() } catch { failure = failure ?? error }
        if let failure { throw failure }
    }
}

extension StorageHost {
    /// Opens a volume for one writer, or a snapshot for readers, and exports it over NBD under the name
    /// `POOL/NAME[@SNAPSHOT]`, which is the default export as well.
    public func exportVolume(
        _ volume: VolumeAddress, _ options: ExportOptions
    ) async throws(StorageError) -> VolumeExport {
        guard !options.addresses.isEmpty else {
            throw StorageError(.invalidArgument, "export volume", at: "\(volume)", why: "it needs an address")
        }
        let isShared = options.isReadOnly || volume.snapshot != nil
        let opened = try await openVolume(volume, mode: isShared ? .readOnly : .exclusive)
        let export = try await VolumeExport.start(volume, opened, options, host: self)
        if !isShared { exports.withLock { $0["\(volume)"] = export } }
        return export
    }
}
