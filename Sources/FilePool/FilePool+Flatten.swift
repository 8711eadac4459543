import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    /// Bytes that are copied at once, and bytes whose mapping is asked for at once.
    private static let pieceSize: UInt64 = 1 << 20
    private static let windowSize: UInt64 = 1 << 30

    /// Copies what the volume still reads through its backing files into it, then lets go of them. A crash leaves the
    /// volume as it was, only larger.
    public func flattenVolume(_ name: String) async throws(StorageError) {
        let (file, declaration) = try await findManaged(name, "flatten volume")
        guard declaration.format == .qcow2, try await facts(of: file).backingFile != nil else { return }
        let volume = try await openExclusively(file, declaration, "flatten volume")
        do throws(StorageError) {
            if let image = volume as? QCOW2Volume {
                guard image.snapshots.isEmpty else {
                    throw failure(
                        .busy, "flatten volume", name,
                        "its snapshots read through the backing file too: delete them first")
                }
                try await copyBacking(into: image, name)
                try await image.detachBacking()
            }
        } catch {
            try? await volume.close()
            throw error
        }
        try await volume.close()
        images.forget(file.status)
    }

    private func copyBacking(into image: QCOW2Volume, _ name: String) async throws(StorageError) {
        let alone = try await openWithoutBacking(name)
        var buffer = [UInt8](repeating: 0, count: Int(Self.pieceSize))
        do throws(StorageError) {
            var window: UInt64 = 0
            while window < image.geometry.size {
                let end = min(window + Self.windowSize, image.geometry.size)
                for missing in try await alone.extents(in: window..<end) where missing.kind == .hole {
                    for extent in try await image.extents(in: missing.range) where extent.kind == .data {
                        try await rewrite(extent.range, of: image, through: &buffer)
                    }
                }
                window = end
            }
            try await image.flush()
        } catch {
            try? await alone.close()
            throw error
        }
        try await alone.close()
    }

    private func rewrite(
        _ range: Range<UInt64>, of image: QCOW2Volume, through buffer: inout [UInt8]
    ) async throws(StorageError) {
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(range.upperBound - position, Self.pieceSize))
            var bytes = buffer.mutableRawBytes
            var piece = bytes._mutatingExtracting(0..<count)
            try await image.read(into: &piece, at: position)
            if !piece.bytes.isZero { try await image.write(piece.bytes, at: position) }
            position += UInt64(count)
        }
    }

    /// The same image as if it had no backing file: what it does not hold itself is a hole. No lock: the caller has
    /// the image to itself.
    private func openWithoutBacking(_ name: String) async throws(StorageError) -> QCOW2Volume {
        let stored = try await store.open(name, .readOnly)
        do throws(StorageError) {
            var options = QCOW2OpenOptions()
            options.isReadOnly = true
            return try await QCOW2Volume.open(stored.volume, options)
        } catch {
            try? await stored.volume.close()
            throw error
        }
    }
}
