import BlockStorage
import Foundation
import IORuntime
import SystemPackage

/// Secrets in files of mode 0600, one a secret, under names that say nothing.
///
/// The catalog refers to them by name; a name is written once and never reused.
struct SecretStore: Sendable {
    let directory: FilePath

    /// Stores a secret durably, and returns its name.
    func store(_ secret: Secret) throws(StorageError) -> String {
        try StorageHome.makeDirectory(directory)
        let name = UUID().uuidString
        do {
            let file = try FileDescriptor.open(
                directory.appending(name), .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite])
            try file.closeAfter {
                _ = try secret.reveal { text in try file.writeAll(text.utf8) }
                guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
            }
        } catch {
            remove(name)
            throw StorageError(errno: error, "store secret", at: directory.string)
        }
        return name
    }

    /// The name of a secret that is found by what it is for: a UUID that is always the same.
    static func name(of purpose: String) -> String {
        // FNV-1a, once from each of two starts.
        func hash(_ start: UInt64) -> UInt64 {
            purpose.utf8.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        }
        let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x8422_2325_cbf2_9ce4))
        let bytes = (0..<16).map { index in UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> (index % 8 * 8)) }
        // Version 8: made by a rule of one's own.
        return UUID(
            uuid: (
                bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6] & 0x0f | 0x80, bytes[7],
                bytes[8] & 0x3f | 0x80, bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]
            )
        ).uuidString
    }

    /// Stores a secret under a name of `name(of:)`, in place of an older one, for programs that read it from a file.
    /// Returns its path.
    func keep(_ secret: Secret, as name: String) async throws(StorageError) -> String {
        let path = directory.appending(name)
        if let old = try? load(name), old == secret { return path.string }
        let new = try store(secret)
        do throws(SystemError) {
            let opened = try await Directory.open(directory)
            try await opened.rename(new, to: name, replacing: true)
        } catch {
            remove(new)
            throw StorageError(error, "store secret", at: directory.string)
        }
        return path.string
    }

    /// Reads a stored secret; throws `notFound` when it is not there.
    func load(_ name: String) throws(StorageError) -> Secret {
        try Secret.read(file: directory.appending(name))
    }

    /// Forgets a secret. One that is not there is forgotten already.
    func remove(_ name: String) {
        try? FileManager.default.removeItem(atPath: directory.appending(name).string)
    }
}

extension Secret {
    /// The contents of a file or of `/dev/fd/N`, without its last line break.
    ///
    /// Throws `permissionDenied` for a file that other users can read, and `invalidArgument` for an empty or a large
    /// one.
    public static func read(file path: FilePath) throws(StorageError) -> Secret {
        var bytes = Data()
        do {
            let file = try FileHandle(forReadingFrom: URL(filePath: path.string))
            defer { try? file.close() }
            let metadata = try FileDescriptor(rawValue: file.fileDescriptor).stat()
            if metadata.type == .regular, !metadata.permissions.isDisjoint(with: [.groupReadWrite, .otherReadWrite]) {
                throw StorageError(
                    .permissionDenied, "read secret", at: path.string, why: "other users can read it: chmod 600")
            }
            // A pipe gives what it has: read on until its end, or until it is too much.
            while bytes.count <= largestByteCount + 2,
                let part = try file.read(upToCount: largestByteCount), !part.isEmpty
            {
                bytes += part
            }
        } catch let error as StorageError {
            throw error
        } catch {
            throw StorageError(errno: error, "read secret", at: path.string)
        }
        while let last = bytes.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard !bytes.isEmpty, bytes.count <= largestByteCount, let text = String(validating: bytes, as: UTF8.self)
        else {
            throw StorageError(
                .invalidArgument, "read secret", at: path.string,
                why: "it must hold 1 to \(largestByteCount) bytes of text")
        }
        return Secret(text)
    }
}

extension StorageError {
    /// An error of a swift-system call.
    init(errno error: any Error, _ what: String, at place: String) {
        if let errno = error as? Errno {
            self.init(SystemError(errno, what), what, at: place)
        } else {
            self.init(foundation: error, what, at: place)
        }
    }
}
