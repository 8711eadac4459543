import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    public func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate {
        try VolumeName.check(name, as: "template name")
        try checkSize(size, "import template", name)
        if try await statusIfPresent(name) != nil { throw taken(name) }
        let staged = try await stage()
        do throws(StorageError) {
            let declaration = Declaration(.template, .qcow2, bytes: size)
            try await reserve(staged, for: name, declaration, takingOver: false, "import template")
            try await writeImage(QCOW2CreateOptions(size: size), to: staged)
            return StagedImage(self, name, staged, try await openStaged(staged))
        } catch {
            await discard(staged)
            throw error
        }
    }

    /// Inspects the image in a staged file as if a stranger had written it.
    fileprivate func inspect(_ staged: StagedFile) async throws(StorageError) {
        let file = try await store.open(staged.name, .readOnly)
        do throws(StorageError) {
            _ = try await QCOW2Inspector.inspect(file.volume)
        } catch {
            try? await file.volume.close()
            throw error
        }
        try await file.volume.close()
    }
}

/// A template in a hidden file.
private final class StagedImage: StagedTemplate {
    private enum Phase { case writing, publishing, done }

    private let pool: FilePool
    private let name: String
    private let staged: FilePool.StagedFile
    private let image: QCOW2Volume
    private let phase = Locked(Phase.writing)

    init(_ pool: FilePool, _ name: String, _ staged: FilePool.StagedFile, _ image: QCOW2Volume) {
        self.pool = pool
        self.name = name
        self.staged = staged
        self.image = image
    }

    var volume: any ResizableVolume { image }

    func publish() async throws(StorageError) -> VolumeDescription {
        guard advance(from: .writing, to: .publishing) else {
            throw pool.failure(.invalidArgument, "publish template", name, "it was published or discarded before")
        }
        let size = image.geometry.size
        do throws(StorageError) {
            // It may have grown since it was staged.
            try await pool.amend(staged.name, "publish template") { $0.bytes = size }
            try await image.close()
            try await pool.inspect(staged)
            try await staged.guardian.protectFromWriting()
            try await pool.names.withName(name) { () async throws(StorageError) in
                try await pool.publish(staged, as: name, Declaration(.template, .qcow2, bytes: size))
            }
        } catch {
            _ = advance(from: .publishing, to: .writing)
            throw error
        }
        _ = advance(from: .publishing, to: .done)
        return try await pool.describeVolume(name)
    }

    func discard() async {
        guard advance(from: .writing, to: .done) else { return }
        try? await image.close()
        await pool.discard(staged)
    }

    private func advance(from: Phase, to: Phase) -> Bool {
        phase.withLock { phase in
            guard phase == from else { return false }
            phase = to
            return true
        }
    }
}
