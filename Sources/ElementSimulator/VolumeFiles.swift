import BlockStorage
import Foundation
import Glibc
import IORuntime
import SystemPackage

/// The thin files that hold volumes' and snapshots' bytes, by their names, in one directory.
struct VolumeFiles: Sendable {
    private let directory: Directory
    private let path: String

    private static let prefixes = ["volume-", "snapshot-"]
    private static let partSuffix = ".part"

    /// Throws `notFound`, and `invalidArgument` for a path that tgtd cannot take.
    static func open(_ path: FilePath) async throws(StorageError) -> VolumeFiles {
        let directory: Directory
        let resolved: String
        do throws(SystemError) {
            directory = try await Directory.open(path)
            resolved = try await directory.resolvedPath()
        } catch {
            throw StorageError(error, "open volumes", at: path.string)
        }
        guard resolved.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: ",") }) else {
            throw StorageError(
                .invalidArgument, "open volumes", at: resolved, why: "tgtd takes no path with spaces or commas")
        }
        return VolumeFiles(directory: directory, path: resolved)
    }

    func path(of id: String) -> String { "\(path)/\(id)" }

    /// A file of zeros, in place of any that is there.
    func create(_ id: String, size: UInt64) async throws(StorageError) {
        try await attempt("create volume", id) { () async throws(SystemError) in
            let file = try await directory.open(id, [.write, .create, .truncate])
            try await file.truncate(to: size)
            try await file.synchronize(dataOnly: false)
            try await file.close()
        }
    }

    /// A file that is shorter is extended, one that is longer is left.
    func extend(_ id: String, size: UInt64) async throws(StorageError) {
        try await attempt("extend volume", id) { () async throws(SystemError) in
            let file = try await directory.open(id, [.write])
            if try await file.size() < size { try await file.truncate(to: size) }
            try await file.synchronize(dataOnly: false)
            try await file.close()
        }
    }

    /// A copy of a file, cut or extended to a size: of shared blocks, or else of copied ones, with a process stopped
    /// meanwhile that may write to it.
    func copy(_ source: String, to id: String, size: UInt64, stopping process: Int32?) async throws(StorageError) {
        let part = id + Self.partSuffix
        if await !run("cp", ["--reflink=always", "--", path(of: source), path(of: part)]) {
            var stopped: StoppedProcess?
            if let process { stopped = try await StoppedProcess.stop(process) }
            defer { stopped?.resume() }
            let isCopied = await run(
                "cp", ["--reflink=never", "--sparse=auto", "--", path(of: source), path(of: part)])
            guard isCopied else {
                throw StorageError(.inputOutput, "copy volume", at: path(of: source), why: "cp fails")
            }
        }
        try await attempt("copy volume", id) { () async throws(SystemError) in
            let file = try await directory.open(part, [.write])
            try await file.truncate(to: size)
            try await file.synchronize(dataOnly: false)
            try await file.close()
            try await directory.rename(part, to: id, replacing: true)
        }
    }

    /// Removes files that are not wanted, and copies that were not finished.
    func remove(_ isUnwanted: @Sendable (String) -> Bool) async throws(StorageError) {
        try await attempt("remove volumes", path) { () async throws(SystemError) in
            for name in try await directory.names()
            where Self.prefixes.contains(where: name.hasPrefix) && (name.hasSuffix(Self.partSuffix) || isUnwanted(name))
            {
                try await directory.remove(name)
            }
        }
    }

    func synchronize() async throws(StorageError) {
        try await attempt("save volumes", path) { () async throws(SystemError) in try await directory.synchronize() }
    }

    /// What each file takes on the file system, in bytes.
    func allocatedSizes() async -> [String: Int] {
        let entries = (try? await directory.entries()) ?? []
        return Dictionary(entries.map { ($0.name, Int(clamping: $0.status.allocatedSize)) }) { first, _ in first }
    }

    private func attempt(
        _ what: String, _ place: String, _ body: () async throws(SystemError) -> Void
    ) async throws(StorageError) {
        do throws(SystemError) {
            try await body()
        } catch {
            throw StorageError(error, what, at: place)
        }
    }

    /// Whether a program ends well.
    private func run(_ program: String, _ arguments: [String]) async -> Bool {
        await BlockingPool.shared.run {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [program] + arguments
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            guard (try? process.run()) != nil else { return false }
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
    }
}

/// A tgtd that does nothing for a moment. It goes on whatever becomes of the copy.
struct StoppedProcess: Sendable {
    private let number: Int32

    /// Returns when no thread of the process runs. Throws `notSupported` for a process that is no tgtd, and `timedOut`.
    static func stop(_ number: Int32) async throws(StorageError) -> StoppedProcess {
        guard name(of: number) == "tgtd" else {
            throw StorageError(.notSupported, "stop tgtd", at: "process \(number)", why: "it is no tgtd")
        }
        let stopped = StoppedProcess(number: number)
        guard kill(number, SIGSTOP) == 0 else {
            throw StorageError(
                SystemError(Errno(rawValue: errno), "kill"), "stop tgtd", at: "process \(number)")
        }
        for _ in 0..<5000 {
            if isStopped(number) { return stopped }
            await IOExecutor.sleep(for: .milliseconds(1))
        }
        stopped.resume()
        throw StorageError(.timedOut, "stop tgtd", at: "process \(number)", why: "it does not stop")
    }

    func resume() { Self.resume(number) }

    /// Lets a tgtd go on, if it is one.
    static func resume(_ number: Int32) {
        if name(of: number) == "tgtd" { _ = kill(number, SIGCONT) }
    }

    private static func name(of number: Int32) -> String? {
        guard let text = try? String(contentsOfFile: "/proc/\(number)/comm", encoding: .utf8) else { return nil }
        return text.split(separator: "\n").first.map(String.init)
    }

    /// Whether all threads are stopped.
    private static func isStopped(_ number: Int32) -> Bool {
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(number)/task")) ?? []
        return threads.allSatisfy { thread in
            let status = try? String(contentsOfFile: "/proc/\(number)/task/\(thread)/stat", encoding: .utf8)
            guard let status, let end = status.lastIndex(of: ")") else { return true }
            return status[status.index(after: end)...].first { $0 != " " } == "T"
        }
    }
}
