import BlockStorage
import IORuntime
import SystemPackage
import TGTControl

/// Volumes as logical units of a tgtd, a target each, their bytes in thin files of one directory. Unit 0 is tgtd's own,
/// the volume is unit 1.
///
/// Targets of other names are left alone. Snapshots and clones share blocks where the file system can do that. Where it
/// cannot, tgtd is stopped while a file is copied, so that a copy is what the volume was at one moment.
public final class TGTVolumes: VolumeBackend {
    static let unit: UInt16 = 1

    /// What is known of what tgtd has, beyond what it tells.
    struct Known: Sendable {
        /// By the target's name, what it was made for.
        var exports: [String: VolumeExport] = [:]
        var secrets: [String: Secret] = [:]
        var targets: [Int32: Int] = [:]
        /// The latest numbers of each session, nil before the first, and their sums by volume since then.
        var sessions: [SessionKey: VolumeCounters]?
        var counters: [Int: VolumeCounters] = [:]
    }

    struct SessionKey: Hashable, Sendable {
        var target: Int32
        var session: UInt64
    }

    let control: TGTControl
    let files: VolumeFiles
    let known = Locked(Known())

    private init(_ control: TGTControl, _ files: VolumeFiles) {
        self.control = control
        self.files = files
    }

    /// Volumes in `directory`, served by the tgtd that listens at the management socket `control`.
    ///
    /// A tgtd that was left stopped in the middle of a copy goes on.
    public static func open(directory: FilePath, control: TGTControl) async throws(StorageError) -> TGTVolumes {
        let files = try await VolumeFiles.open(directory)
        if let process = await control.process() { StoppedProcess.resume(process) }
        return TGTVolumes(control, files)
    }

    public func perform(_ changes: [DataChange]) async throws(StorageError) {
        for change in changes {
            switch change {
            case .create(let id, let size): try await files.create(id, size: UInt64(max(0, size)))
            case .extend(let id, let size): try await files.extend(id, size: UInt64(max(0, size)))
            case .copy(let source, let id, let size):
                // One that nobody can write to needs no stop.
                let isServed = known.withLock { $0.exports.values.contains { $0.dataID == source } }
                let process = isServed ? await control.process() : nil
                try await files.copy(source, to: id, size: UInt64(max(0, size)), stopping: process)
            }
        }
        try await files.synchronize()
    }

    public func counters() async throws(StorageError) -> [Int: VolumeCounters] {
        let lines = try await control.statistics().filter { $0.unit == UInt64(Self.unit) }
        let sizes = await files.allocatedSizes()
        return known.withLock { known in
            var sessions: [SessionKey: VolumeCounters] = [:]
            var counts: [Int: Int] = [:]
            for line in lines {
                guard let volume = known.targets[line.target] else { continue }
                let key = SessionKey(target: line.target, session: line.session)
                let counters = VolumeCounters(line)
                sessions[key] = counters
                counts[volume, default: 0] += 1
                guard let old = known.sessions else { continue }
                known.counters[volume, default: .init()].add(counters.since(old[key] ?? .init()))
            }
            known.sessions = sessions
            for export in known.exports.values {
                known.counters[export.volumeID, default: .init()].sessions = counts[export.volumeID] ?? 0
                known.counters[export.volumeID, default: .init()].usedBytes = sizes[export.dataID] ?? 0
            }
            let volumes = Set(known.exports.values.map(\.volumeID))
            known.counters = known.counters.filter { volumes.contains($0.key) }
            return known.counters
        }
    }

    public func sessions() async throws(StorageError) -> [VolumeSession] {
        let volumes = known.withLock { $0.targets }
        var sessions: [VolumeSession] = []
        for target in try await control.targets() where !target.initiators.isEmpty {
            guard let volume = volumes[target.number] else { continue }
            for connection in try await control.connections(target: target.number) {
                sessions.append(
                    VolumeSession(
                        volumeID: volume, initiator: connection.initiator, address: connection.address,
                        number: Int(clamping: connection.session)))
            }
        }
        return sessions
    }
}

extension VolumeCounters {
    fileprivate init(_ line: TGTStatistics) {
        self.init()
        readOperations = Int(clamping: line.readCommands)
        writeOperations = Int(clamping: line.writeCommands)
        readBytes = Int(clamping: line.readBytes)
        writtenBytes = Int(clamping: line.writtenBytes)
    }

    fileprivate mutating func add(_ other: VolumeCounters) {
        readOperations += other.readOperations
        writeOperations += other.writeOperations
        readBytes += other.readBytes
        writtenBytes += other.writtenBytes
    }
}
