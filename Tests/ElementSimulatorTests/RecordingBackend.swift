import BlockStorage
import ElementSimulator
import IORuntime

/// Remembers what it is asked for, and fails when it is told to.
final class RecordingBackend: VolumeBackend {
    let fails = Locked(false)
    let data = Locked<[String: Int]>([:])
    let exported = Locked<[VolumeExport]>([])
    /// What it says that volumes have been used.
    let counted = Locked<[Int: VolumeCounters]>([:])

    func perform(_ changes: [DataChange]) async throws(StorageError) {
        if fails.withLock({ $0 }) { throw StorageError(.noSpace, "provide bytes") }
        data.withLock { data in
            for change in changes {
                switch change {
                case .create(let id, let size), .extend(let id, let size), .copy(_, let id, let size): data[id] = size
                }
            }
        }
    }

    func export(
        _ volumes: [VolumeExport], cluster: String, keeping data: Set<String>
    ) async throws(StorageError) {
        self.data.withLock { $0 = $0.filter { data.contains($0.key) } }
        exported.withLock { $0 = volumes }
    }

    func counters() async throws(StorageError) -> [Int: VolumeCounters] { counted.withLock { $0 } }
    func sessions() async throws(StorageError) -> [VolumeSession] { [] }
}
