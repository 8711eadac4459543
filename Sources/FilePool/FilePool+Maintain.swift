import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    public func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
        let (file, declaration) = try await findManaged(name, "resize volume")
        try checkSize(size, "resize volume", name)
        try checkVolume(declaration, "resize volume", name)
        try await withWriter(file, declaration, "resize volume") { (volume) async throws(StorageError) in
            let old = volume.geometry.size
            if size == old { return }
            guard size > old || allowShrink else {
                throw failure(
                    .invalidArgument, "resize volume", name, "it has \(old) bytes, and what is cut off would be lost")
            }
            let logical = Self.logicalBytes(of: volume)
            let room = size > old ? logical.addingSaturating(size - old) : logical
            try await withRoom(for: room, of: name, volume, "resize volume") { () async throws(StorageError) in
                try await volume.resize(to: size)
                if declaration.provisioning == .fat, declaration.format == .raw, size > old {
                    try await volume.writeZeroes(old..<size, options: .keepAllocated)
                    try await volume.flush()
                }
            }
        }
    }

    public func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport {
        let (file, declaration) = try await findManaged(name, "check volume")
        guard declaration.format == .qcow2 else { return CheckReport() }
        let use: ImageLock.Use = repair == .none ? .reading : .writing
        let stored = try await openLocked(name, use)
        do throws(StorageError) {
            if repair != .none { try await checkUnreferenced(file, "repair volume") }
            let report = try await QCOW2Checker.check(stored.volume, repair: repair)
            images.forget(file.status)
            try await stored.volume.close()
            return report
        } catch {
            try? await stored.volume.close()
            throw error
        }
    }

    func checkVolume(_ declaration: Declaration, _ what: String, _ name: String) throws(StorageError) {
        guard declaration.kind == .volume else {
            throw failure(.readOnly, what, name, "it is a template, and templates are never written")
        }
    }

    /// Runs `body` with the volume as this process has it open for writing, or opened for that.
    func withWriter(
        _ file: PoolFile, _ declaration: Declaration, _ what: String,
        _ body: (any ResizableVolume & AnyObject) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        if let volume = attachments.volume(file.name) {
            do throws(StorageError) {
                try await body(volume)
                images.forget(file.status)
                return
            } catch {
                // Closed, but not gone yet.
                if error.code != .notAttached { throw error }
            }
        }
        let volume = try await openExclusively(file, declaration, what)
        do throws(StorageError) {
            try await body(volume)
        } catch {
            try? await volume.close()
            throw error
        }
        try await volume.close()
        images.forget(file.status)
    }
}
