import BlockStorage
import IORuntime
import Testing

@testable import FilePool

/// Whatever call on the directory is the last one that a process makes, what it was doing is done or was never begun.
@Suite struct CrashTests {
    private enum Operation: CaseIterable {
        case createRaw, createImage, linkedClone, fullCopy, delete, rename, publish, deleteTemplate
        case resize, setQoS, reserve, takeOverReservation
    }

    @Test("a crash at any point leaves whole volumes and nothing else", arguments: Operation.allCases)
    private func crash(operation: Operation) async throws {
        for limit in 0..<200 {
            let isDone = try await withTemporaryDirectory { path in
                let before = try await FilePool.open("p", .directory, path: path)
                try await before.create("old")
                let template = try await before.stageTemplate("oldtemplate", size: 1 << 20)
                _ = try await template.publish()

                let store = CrashingStore(try await LocalFileStore(path))
                let pool = try await FilePool.open("p", .directory, store: store, options: .init())
                store.crash(after: limit)
                let failure = await code { try await perform(operation, pool) }
                let after = try await FilePool.open("p", .directory, path: path)
                try await check(operation, after, isDone: failure == nil)
                return failure == nil
            }
            if isDone { return }
        }
        Issue.record("the operation never ends")
    }

    private func perform(_ operation: Operation, _ pool: FilePool) async throws {
        switch operation {
        case .createRaw: _ = try await pool.createVolume("new", CreateRequest(size: 1 << 20, format: .raw))
        case .createImage: _ = try await pool.createVolume("new", CreateRequest(size: 1 << 20))
        case .linkedClone: _ = try await pool.cloneVolume(VolumeReference("old"), as: "new", CloneRequest())
        case .fullCopy: _ = try await pool.cloneVolume(VolumeReference("old"), as: "new", CloneRequest(isFull: true))
        case .delete: try await pool.deleteVolume("old", policy: .refuse)
        case .rename: try await pool.renameVolume("old", to: "new")
        case .publish:
            let staged = try await pool.stageTemplate("new", size: 1 << 20)
            do {
                _ = try await staged.publish()
            } catch {
                await staged.discard()
                throw error
            }
        case .deleteTemplate: try await pool.deleteTemplate("oldtemplate")
        case .resize: try await pool.resizeVolume("old", to: 2 << 20, allowShrink: false)
        case .setQoS: try await pool.setQoS(QoSPolicy(minIOPS: 7), of: "old")
        case .reserve: try await pool.reserveVolume("new", CreateRequest(size: 1 << 20))
        case .takeOverReservation:
            try await pool.reserveVolume("new", CreateRequest(size: 1 << 20))
            _ = try await pool.createVolume("new", CreateRequest(size: 1 << 20))
        }
    }

    private func check(_ operation: Operation, _ pool: FilePool, isDone: Bool) async throws {
        #expect(try await pool.leftovers.isEmpty)
        var names: Set<String> = []
        var bytes: UInt64 = 0
        for volume in try await pool.listVolumes() + pool.listTemplates() {
            #expect(volume.isManaged, "\(volume.name) is left without a declaration")
            names.insert(volume.name)
            bytes += volume.virtualSize
            let opened = try await pool.openVolume(VolumeReference(volume.name), mode: .readOnly)
            let byte = try await opened.bytes(at: 0, count: 1)[0]
            try await opened.close()
            let isCopy = [.linkedClone, .fullCopy, .rename].contains(operation)
            #expect(byte == (volume.name == "old" || (volume.name == "new" && isCopy) ? 0x11 : 0), "\(volume.name)")
        }
        let (start, end): (Set<String>, Set<String>) =
            switch operation {
            case .createRaw, .createImage, .linkedClone, .fullCopy, .publish:
                (["old", "oldtemplate"], ["old", "oldtemplate", "new"])
            case .delete: (["old", "oldtemplate"], ["oldtemplate"])
            case .rename: (["old", "oldtemplate"], ["new", "oldtemplate"])
            case .deleteTemplate: (["old", "oldtemplate"], ["old"])
            case .resize, .setQoS, .reserve: (["old", "oldtemplate"], ["old", "oldtemplate"])
            case .takeOverReservation: (["old", "oldtemplate"], ["old", "oldtemplate", "new"])
            }
        let promised = try await pool.provisioned().bytes
        // Never too little: room is taken before a volume grows, and a reservation is no volume.
        let excess: [UInt64] =
            switch operation {
            case .resize, .reserve, .takeOverReservation: [0, 1 << 20]
            default: [0]
            }
        #expect(excess.contains(promised - min(promised, bytes)), "\(promised) bytes promised, \(bytes) there")
        #expect(promised >= bytes)
        #expect(names == end || (!isDone && names == start), "\(names)")
    }
}

/// A store that a process stops using: from a point on, every call fails and changes nothing.
private final class CrashingStore: FileStore {
    private let store: LocalFileStore
    private let callsLeft = Locked(Int.max)

    init(_ store: LocalFileStore) { self.store = store }

    func crash(after calls: Int) { callsLeft.withLock { $0 = calls } }

    private func call() throws(StorageError) {
        let isAlive = callsLeft.withLock { calls in
            calls -= 1
            return calls >= 0
        }
        if !isAlive { throw StorageError(.inputOutput, "call store", why: "the process is dead") }
    }

    var overdue: IODeadline.Overdue? { store.overdue }

    func location(of name: String) -> String { store.location(of: name) }

    func open(_ name: String, _ mode: FileOpenMode) async throws(StorageError) -> any StoredFile {
        try call()
        return try await store.open(name, mode)
    }

    func status(of name: String, followsLinks: Bool) async throws(StorageError) -> FileStatus {
        try call()
        return try await store.status(of: name, followsLinks: followsLinks)
    }

    func entries(in name: String) async throws(StorageError) -> [Directory.Entry] {
        try call()
        return try await store.entries(in: name)
    }

    func makeDirectory(_ name: String) async throws(StorageError) {
        try call()
        try await store.makeDirectory(name)
    }

    func makeSymbolicLink(_ name: String, to target: String) async throws(StorageError) {
        try call()
        try await store.makeSymbolicLink(name, to: target)
    }

    func targetOfSymbolicLink(_ name: String) async throws(StorageError) -> String {
        try call()
        return try await store.targetOfSymbolicLink(name)
    }

    func rename(_ name: String, to newName: String, replacing: Bool) async throws(StorageError) {
        try call()
        try await store.rename(name, to: newName, replacing: replacing)
    }

    func link(_ name: String, to newName: String) async throws(StorageError) {
        try call()
        try await store.link(name, to: newName)
    }

    func remove(_ name: String) async throws(StorageError) {
        try call()
        try await store.remove(name)
    }

    func synchronize(_ name: String) async throws(StorageError) {
        try call()
        try await store.synchronize(name)
    }

    func space() async throws(StorageError) -> FileSystemSpace {
        try call()
        return try await store.space()
    }
}
