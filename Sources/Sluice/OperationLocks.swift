import BlockStorage
import IORuntime
import SystemPackage

/// Locks on volumes and templates that hold between the operations of all processes that use one home.
///
/// Each is a byte of one file, and each operation opens that file anew: the kernel tells open files apart, in one
/// process or in several, and drops the locks of one that is closed or whose process died, however it died.
struct OperationLocks: Sendable {
    let file: FilePath

    /// What one operation holds.
    struct Held: Sendable {
        fileprivate let file: File

        func release() async { try? await file.close() }
    }

    /// How an operation uses a volume.
    enum Use: Sendable { case shared, exclusive }

    /// Takes all the locks, waiting for other operations until `deadline`. Throws `busy`, with the place of the volume
    /// that is in the way, when it comes; `cancelled` when the task is cancelled.
    func acquire(
        _ uses: [VolumeAddress: Use], _ what: String, until deadline: ContinuousClock.Instant
    ) async throws(StorageError) -> Held {
        let file: File
        do {
            file = try await File.open(self.file, [.write, .create, .noFollow])
        } catch {
            throw StorageError(error, "open operation locks", at: self.file.string)
        }
        do throws(StorageError) {
            // In one order, so that two operations never wait for each other.
            for (volume, use) in uses.sorted(by: { Self.byte(of: $0.key) < Self.byte(of: $1.key) }) {
                try await lock(file, volume, use, what, until: deadline)
            }
            return Held(file: file)
        } catch {
            try? await file.close()
            throw error
        }
    }

    private func lock(
        _ file: File, _ volume: VolumeAddress, _ use: Use, _ what: String, until deadline: ContinuousClock.Instant
    ) async throws(StorageError) {
        let byte = Self.byte(of: volume)
        var pause = Duration.milliseconds(1)
        while true {
            do {
                if try await file.lock(use == .shared ? .shared : .exclusive, byte..<byte + 1) { return }
            } catch {
                throw StorageError(error, what, at: "\(volume)")
            }
            guard ContinuousClock.now < deadline else { throw StorageError(.busy, what, at: "\(volume)") }
            do {
                try await Task.sleep(for: pause)
            } catch {
                throw StorageError(.cancelled, what, at: "\(volume)")
            }
            pause = min(pause * 2, .milliseconds(20))
        }
    }

    /// FNV-1a, in the 62 bits that a lock can have. Two volumes with one byte wait for each other, no more.
    private static func byte(of volume: VolumeAddress) -> UInt64 {
        let hash = "\(volume)".utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return hash >> 2
    }
}
