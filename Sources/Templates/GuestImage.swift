import BlockStorage
import IORuntime
import QCOW2

/// Opens what an unknown image shows to a guest, once it is known to be harmless.
enum GuestImage {
    /// The disk in `image`, which is in the format that was declared and in no other, and asks for no more than
    /// `limits`. Throws `unsafeImage` with the reason for anything else. Closing the result closes `image`.
    static func open(
        _ image: any ResizableVolume, _ format: VolumeFormat, limits: ImportLimits
    ) async throws(StorageError) -> any Volume {
        let signatures = try await ImageSignature.all(in: image)
        switch format {
        case .raw: try checkRaw(signatures)
        case .qcow2:
            guard signatures == [.qcow2] else {
                throw refused(
                    signatures.isEmpty
                        ? "it is declared qcow2 and is not" : "it is declared qcow2 and looks like \(names(signatures))"
                )
            }
        }
        return try await openDeclared(image, format, limits: limits)
    }

    /// Throws `unsafeImage` where a raw image could be taken for anything else.
    static func checkRaw(_ signatures: Set<ImageSignature>) throws(StorageError) {
        guard signatures.isEmpty else {
            throw refused(
                "it is declared raw and looks like \(names(signatures)): declare what it is, or convert it first")
        }
    }

    /// As `open`, for an image of the operator's own: a raw disk may hold anything.
    static func openDeclared(
        _ image: any ResizableVolume, _ format: VolumeFormat, limits: ImportLimits
    ) async throws(StorageError) -> any Volume {
        let disk: any Volume
        switch format {
        case .raw:
            disk = image
        case .qcow2:
            var inspection = QCOW2Inspector.Limits()
            inspection.virtualSize = limits.largestSize
            inspection.duration = limits.unpackTime
            // All of it is read afterwards, which expands every compressed cluster that belongs to the disk.
            inspection.inflatesClusters = false
            _ = try await QCOW2Inspector.inspect(image, inspection)
            var options = QCOW2OpenOptions()
            options.isReadOnly = true
            disk = try await QCOW2Volume.open(image, options)
        }
        try check(size: disk.geometry.size, limits)
        return disk
    }

    static func check(size: UInt64, _ limits: ImportLimits) throws(StorageError) {
        guard size > 0, size <= limits.largestSize else {
            throw refused("its disk has \(size) bytes; 1 to \(limits.largestSize) are allowed")
        }
    }

    /// Guests see sectors; a template that ends inside one was cut, or never was a disk.
    static func checkSectors(size: UInt64) throws(StorageError) {
        guard size % 512 == 0 else {
            throw refused("its size, \(size) bytes, is not a multiple of 512")
        }
    }

    private static func names(_ signatures: Set<ImageSignature>) -> String {
        signatures.map(\.rawValue).sorted().joined(separator: " and ")
    }

    private static func refused(_ why: String) -> StorageError {
        StorageError(.unsafeImage, "inspect image", why: why)
    }
}
