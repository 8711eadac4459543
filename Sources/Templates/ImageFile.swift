import BlockStorage
import IORuntime
import QCOW2
import SystemPackage

/// Image files of this host that volumes are imported from and exported to.
public enum ImageFile {
    /// What a file is. Declared by the caller, and refused where the bytes disagree.
    public enum Format: String, Sendable, CaseIterable {
        case raw, qcow2
        /// Version 1 of QCOW, to read only.
        case qcow
    }

    /// Opens the disk in the image at `path`, to read.
    ///
    /// A QCOW2 image is inspected as a template is: one with a backing file or an external data file, an encrypted or
    /// damaged one throws `unsafeImage`. Of an image with internal snapshots the current state is read. Throws `busy`
    /// while another program has the file open for writing.
    public static func open(
        _ path: FilePath, _ format: Format, limits: ImportLimits = ImportLimits()
    ) async throws(StorageError) -> any Volume {
        let file = try await File.openImage(path, as: "open image")
        do throws(StorageError) {
            switch format {
            case .raw: return try await FileVolume(file, isReadOnly: true)
            case .qcow2:
                let image = try await FileVolume(file, isReadOnly: true)
                return try await GuestImage.openDeclared(image, .qcow2, limits: limits)
            case .qcow: return try await openLegacy(file)
            }
        } catch {
            try? await file.close()
            throw error
        }
    }

    private static func openLegacy(_ file: File) async throws(StorageError) -> any Volume {
        #if LegacyQCOW
            return try await QCOW1Volume(file)
        #else
            throw StorageError(
                .notSupported, "open image", at: file.path.string,
                why: "this build cannot read version 1 QCOW images")
        #endif
    }

    /// How the clusters of an exported QCOW2 image are compressed.
    public enum Compression: String, Sendable, CaseIterable { case zlib, zstd }

    /// Writes the disk `volume` into a new file at `path`, which appears there whole, or not at all.
    ///
    /// The file can be read by its owner only. `compression` is for QCOW2 images. Throws `alreadyExists` when there is
    /// something at `path`: nothing is ever overwritten.
    public static func write(
        _ volume: any Volume, to path: FilePath, _ format: VolumeFormat, compression: Compression? = nil,
        progress: (@Sendable (CopyProgress) -> Void)? = nil
    ) async throws(StorageError) {
        if format == .raw, compression != nil {
            throw StorageError(
                .invalidArgument, "export volume", at: path.string, why: "raw images have no compression")
        }
        let new = try await NewFile.make(at: path)
        try await finally({ await new.discard() }) { () async throws(StorageError) in
            let base = try await FileVolume(new.file, isReadOnly: false)
            try await finally({ try? await base.close() }) { () async throws(StorageError) in
                try await fill(base, from: volume, format, compression, progress)
                try await new.publish()
            }
        }
    }

    private static func fill(
        _ base: FileVolume, from volume: any Volume, _ format: VolumeFormat, _ compression: Compression?,
        _ progress: (@Sendable (CopyProgress) -> Void)?
    ) async throws(StorageError) {
        let size = volume.geometry.size
        let copyOptions = CopyOptions(destinationReadsZero: true, progress: progress)
        guard format == .qcow2 else {
            try await base.resize(to: size)
            return try await _ = volume.copy(to: base, copyOptions)
        }
        var options = QCOW2CreateOptions(size: size)
        if let compression {
            options.compressionType = compression == .zlib ? .zlib : .zstd
            let meter = Locked(ProgressMeter(.copying, total: size, start: .now))
            try await QCOW2CompressedWriter.write(volume, on: base, options) { done in
                if let report = meter.withLock({ $0.reach(done, at: .now) }) { progress?(report) }
            }
        } else {
            try await QCOW2Volume.create(on: base, options)
            let image = try await QCOW2Volume.open(base)
            try await finally({ try? await image.close() }) { () async throws(StorageError) in
                try await volume.copy(to: image, copyOptions)
                try await image.close()
            }
        }
    }
}
