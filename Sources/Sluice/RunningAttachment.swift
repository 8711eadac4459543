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
    public var details: AttachmentDetails { AttachmentDetails(mode: mode, holder: holder, since: since) }
    /// The path of the Unix socket that NBD clients connect to.
    public var socketPath: String? {
        listeners.first { $0.hasPrefix("unix:") }.map { String($0.dropFirst("unix:".count)) }
    }
    /// Filled in by who lists: the run directory.
    var directory: FilePath { FilePath(directoryPath) }
    private var directoryPath: String = ""

    private enum CodingKeys: String, CodingKey {
        case pool, volume, snapshot, mode, enforcer, stack, listeners, program, processID, since, control
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
        self.stack = String(stack.prefix(Self.longestStack))
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
    /// What is not published after this time will not be: its process died.
    private static let longestStart: TimeInterval = 60

    /// The attachments in `directory` whose processes live, by volume; what the dead left is removed.
    static func all(in directory: FilePath) async throws(StorageError) -> [RunningAttachment] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory.string) else { return [] }
        var found: [RunningAttachment] = []
        for name in names.sorted() {
            if name.hasSuffix(suffix), !name.hasPrefix(".") {
                if let attachment = await read(name, in: directory) { found.append(attachment) }
            } else if !names.contains("\(name.prefix { $0 != "." })\(suffix)") {
                removeUnfinished(directory.appending(name))
            }
        }
        return found.sorted { ($0.pool, $0.volume, $0.snapshot ?? "") < ($1.pool, $1.volume, $1.snapshot ?? "") }
    }

    /// Removes what a process left that died before it published its attachment.
    private static func removeUnfinished(_ path: FilePath) {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path.string)
        guard let changed = attributes?[.modificationDate] as? Date, -changed.timeIntervalSinceNow > longestStart else {
            return
        }
        try? FileManager.default.removeItem(atPath: path.string)
    }

    private static func read(_ name: String, in directory: FilePath) async -> RunningAttachment? {
        let path = directory.appending(name)
        // One that goes away meanwhile is one that ended.
        guard let file = try? await File.open(path, [.noFollow]), let size = try? await file.size(),
            let isLive = try? await file.isLockedByOther(.shared, 0..<1)
        else { return nil }
        guard isLive else {
            try? FileManager.default.removeItem(atPath: path.string)
            try? FileManager.default.removeItem(
                atPath: directory.appending(name.dropLast(suffix.count) + ".sock").string)
            return nil
        }
        var content = [UInt8](repeating: 0, count: min(Int(clamping: size), largestByteCount))
        var bytes = content.mutableRawBytes
        guard (try? await file.read(into: &bytes, at: 0)) == content.count,
            var attachment = try? JSONDecoder().decode(RunningAttachment.self, from: Data(content)),
            !attachment.control.contains("/")
        else { return nil }
        attachment.directoryPath = directory.string
        return attachment
    }

    /// Publishes the description; it goes when the returned file is closed, or its process dies.
    func publish() async throws(StorageError) -> File {
        let name = control.dropLast(".sock".count) + Self.suffix
        let (hidden, path) = (directory.appending("." + name), directory.appending(String(name)))
        do {
            let file = try await File.open(hidden, [.write, .create, .exclusive])
            defer { try? FileManager.default.removeItem(atPath: hidden.string) }
            // Locked before it has its name: nobody may take it for a dead one's.
            guard try await file.lock(.exclusive, 0..<1) else {
                throw StorageError(
                    .internalError, "publish attachment", at: path.string, why: "another process locked it")
            }
            let content = try Array(JSONEncoder().encode(self))
            try await file.write(content.rawBytes, at: 0)
            try FileManager.default.moveItem(atPath: hidden.string, toPath: path.string)
            return file
        } catch let error as StorageError {
            throw error
        } catch let error as SystemError {
            throw StorageError(error, "publish attachment", at: path.string)
        } catch {
            throw StorageError(foundation: error, "publish attachment", at: path.string)
        }
    }

    /// Removes the description and the control socket.
    func withdraw() {
        let name = control.dropLast(".sock".count) + Self.suffix
        try? FileManager.default.removeItem(atPath: directory.appending(String(name)).string)
        try? FileManager.default.removeItem(atPath: directory.appending(control).string)
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
