import BlockStorage
import Foundation
import IORuntime
import SystemPackage

/// A volume that some process of this host has attached: in whose hands it is, where NBD clients reach it if it is
/// exported, and where the control socket of its process is.
///
/// Each is one file in the home's run directory, locked by its process for as long as that lives. A file without a
/// lock belongs to a dead process and is removed by whoever sees it.
public struct RunningAttachment: Codable, Equatable, Sendable {
    public var pool: String
    public var volume: String
    public var snapshot: String?
    public var mode: Attachment.Mode
    /// Who holds the volume to its policy.
    public var enforcer: QoSEnforcer
    /// The volume and what it is built on, in one line.
    public var stack: String
    /// The memory of the volume's own cache; nil where it has none by its nature.
    public var cache: CacheMemory?
    /// Where NBD clients connect: `unix:PATH` or `tcp:HOST:PORT`. Empty unless it is exported.
    public var listeners: [String] = []
    /// The name of the program.
    public var program: String
    public var processID: Int32
    /// Seconds since 1970, UTC.
    public var since: Int64
    /// The control socket's name in the run directory.
    var control: String

    /// The process, for people.
    public var holder: String { "\(program)\(isExport ? " serve" : ""), pid \(processID)" }
    public var isExport: Bool { !listeners.isEmpty }
    public var address: VolumeAddress { VolumeAddress(pool: pool, name: volume, snapshot: snapshot) }
    public var details: AttachmentDetails {
        AttachmentDetails(mode: mode, holder: holder, since: since, cache: cache)
    }
    /// The path of the Unix socket that NBD clients connect to.
    public var socketPath: String? {
        listeners.compactMap(Self.socketPath).first
    }
    /// Filled in by who lists: the run directory.
    var directory: FilePath { FilePath(directoryPath) }
    private var directoryPath: String = ""

    private enum CodingKeys: String, CodingKey {
        case pool, volume, snapshot, mode, enforcer, stack, cache, listeners, program, processID, since, control
    }

    init(
        _ address: VolumeAddress, mode: Attachment.Mode, enforcer: QoSEnforcer = .none, stack: String = "",
        listeners: [String] = [], control: String = "\(UUID().uuidString).sock", directory: FilePath
    ) {
        pool = address.pool
        volume = address.name
        snapshot = address.snapshot
        self.mode = mode
        self.enforcer = enforcer
        self.stack = stack
        self.listeners = listeners
        program = ProcessInfo.processInfo.processName
        processID = ProcessInfo.processInfo.processIdentifier
        since = Int64(Date().timeIntervalSince1970)
        self.control = control
        directoryPath = directory.string
    }

    /// Descriptions are small; whatever is larger is none.
    private static let largestByteCount = 64 << 10
    private static let suffix = ".json"
    /// A longer line is cut.
    private static let longestStack = 4096

    /// The names of the files of an attachment begin with this.
    private var id: String { String(control.prefix { $0 != "." }) }
    /// Has the name under which others look only once it is complete.
    private var record: FilePath { Self.record(id, in: directory) }
    private var hiddenRecord: FilePath { Self.hiddenRecord(id, in: directory) }

    static func record(_ id: String, in directory: FilePath) -> FilePath { directory.appending(id + suffix) }
    static func hiddenRecord(_ id: String, in directory: FilePath) -> FilePath {
        directory.appending("." + id + suffix)
    }

    /// The ids of the attachments that have a record in `directory`, published or not.
    static func names(in directory: FilePath) -> Set<String> {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.string)) ?? []
        return Set(names.filter { $0.hasSuffix(suffix) }.map { String($0.drop { $0 == "." }.dropLast(suffix.count)) })
    }

    /// The attachment whose record that is, if its process lives.
    static func living(_ path: FilePath, in directory: FilePath) async -> RunningAttachment? {
        // One that goes away meanwhile is one that ended.
        guard let file = try? await File.open(path, [.noFollow]) else { return nil }
        var attachment: RunningAttachment?
        if (try? await file.isLockedByOther(.shared, 0..<1)) ?? true { attachment = await read(file, in: directory) }
        try? await file.close()
        return attachment
    }

    /// The attachments in `directory` whose processes live, by volume.
    static func all(in directory: FilePath) async throws(StorageError) -> [RunningAttachment] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory.string) else { return [] }
        var found: [RunningAttachment] = []
        var isClean = true
        for name in names where name.hasSuffix(suffix) && !name.hasPrefix(".") {
            // One that goes away meanwhile is one that ended.
            guard let file = try? await File.open(directory.appending(name), [.noFollow]) else { continue }
            if (try? await file.isLockedByOther(.shared, 0..<1)) ?? true {
                if let attachment = await read(file, in: directory) { found.append(attachment) }
            } else {
                isClean = false
            }
            try? await file.close()
        }
        if !isClean { await removeLeftovers(in: directory) }
        return found.sorted {
            ($0.pool, $0.volume, $0.snapshot ?? "", $0.control) < ($1.pool, $1.volume, $1.snapshot ?? "", $1.control)
        }
    }

    private static func read(_ file: File, in directory: FilePath) async -> RunningAttachment? {
        guard let size = try? await file.size() else { return nil }
        var content = [UInt8](repeating: 0, count: min(Int(clamping: size), largestByteCount))
        var bytes = content.mutableRawBytes
        guard (try? await file.read(into: &bytes, at: 0)) == content.count,
            var attachment = try? JSONDecoder().decode(RunningAttachment.self, from: Data(content)),
            !attachment.control.contains("/")
        else { return nil }
        attachment.directoryPath = directory.string
        return attachment
    }

    /// Removes what processes left in `directory` that died: records, published or not, and sockets. Returns of how
    /// many attachments.
    @discardableResult
    static func removeLeftovers(in directory: FilePath) async -> Int {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory.string) else { return 0 }
        let files = Dictionary(grouping: names) { name in String(name.drop { $0 == "." }.prefix { $0 != "." }) }
        var count = 0
        for (id, names) in files {
            // A listing may miss a record that is renamed meanwhile, so they are looked for in the order of its names.
            let records = [".\(id)\(suffix)", "\(id)\(suffix)"].filter { name in
                (try? FileStatus(at: directory.appending(name), followsLinks: false)) != nil
            }
            if await areLeftovers(Set(names + records).sorted(), in: directory) { count += 1 }
        }
        return count
    }

    /// Removes the files of one attachment unless its process lives.
    private static func areLeftovers(_ names: [String], in directory: FilePath) async -> Bool {
        var locked: [File] = []
        defer { withExtendedLifetime(locked) {} }
        for name in names where name.hasSuffix(suffix) {
            // Who holds the lock may remove the files; who lives holds it always.
            guard let file = try? await File.open(directory.appending(name), [.write, .noFollow]),
                (try? await file.lock(.exclusive, 0..<1)) == true
            else { return false }
            locked.append(file)
        }
        for file in locked {
            for path in await read(file, in: directory)?.listeners.compactMap(socketPath) ?? [] {
                await SocketFile.removeStale(path)
            }
        }
        // The record goes last: while it is there, others find what is left of a sweep that was interrupted.
        for name in names.sorted(by: { !$0.hasSuffix(suffix) && $1.hasSuffix(suffix) }) {
            try? FileManager.default.removeItem(atPath: directory.appending(name).string)
        }
        for file in locked { try? await file.close() }
        return true
    }

    private static func socketPath(_ listener: String) -> String? {
        listener.hasPrefix("unix:") ? String(listener.dropFirst("unix:".count)) : nil
    }

    /// Makes the record, which nobody sees yet, and locks it for as long as the returned file is open and this process
    /// lives. Everything else of the attachment comes after it, so that its death leaves nothing that cannot be told.
    func reserve() async throws(StorageError) -> File {
        do {
            while true {
                let file = try await File.open(hiddenRecord, [.write, .create])
                // Before it was locked, another may have taken it for a dead one's, and removed it.
                if try await file.lock(.exclusive, 0..<1), let now = try? FileStatus(at: hiddenRecord),
                    now.inode == (try await file.status()).inode
                {
                    return file
                }
                try await file.close()
            }
        } catch {
            throw StorageError(error, "attach volume", at: "\(address)")
        }
    }

    /// Writes the reserved record.
    func write(to file: File) async throws(StorageError) {
        do {
            var record = self
            record.stack = String(stack.prefix(Self.longestStack))
            let content = try Array(JSONEncoder().encode(record))
            try await file.write(content.rawBytes, at: 0)
            try await file.truncate(to: UInt64(content.count))
        } catch let error as SystemError {
            throw StorageError(error, "attach volume", at: "\(address)")
        } catch {
            throw StorageError(foundation: error, "attach volume", at: "\(address)")
        }
    }

    /// Writes the reserved record and lets others see it.
    func publish(in file: File) async throws(StorageError) {
        try await write(to: file)
        do {
            try FileManager.default.moveItem(atPath: hiddenRecord.string, toPath: record.string)
        } catch {
            throw StorageError(foundation: error, "attach volume", at: "\(address)")
        }
    }

    /// Removes the record and the control socket, before the lock is dropped.
    func withdraw() {
        for path in [directory.appending(control), record, hiddenRecord] {
            try? FileManager.default.removeItem(atPath: path.string)
        }
    }
}

extension StorageHost {
    /// What the processes of this host that use this home have attached, exports among it.
    public func runningAttachments() async throws(StorageError) -> [RunningAttachment] {
        try await RunningAttachment.all(in: home.run)
    }

    /// The exports that processes of this host run, with this home.
    public func runningExports() async throws(StorageError) -> [RunningAttachment] {
        try await runningAttachments().filter(\.isExport)
    }
}
