import BlockStorage
import IORuntime

/// What the first and last bytes of a file say that it is.
///
/// Only ever compared with what the caller declared, never used to choose a format: a guest can write any of these
/// to its own disk.
enum ImageSignature: String, CaseIterable {
    case qcow, qcow2, qed, vmdk, vdi, vhd, vhdx, luks, parallels, bochs, dmg, cloop
    case gzip, bzip2, xz, zstd, zip

    /// The largest part of either end that is looked at, in bytes.
    static let headSize: UInt64 = 4096
    static let footerSize: UInt64 = 512

    /// Everything that `volume` could be taken for. Reads at most 4.5 KiB.
    static func all(in volume: any Volume) async throws(StorageError) -> Set<ImageSignature> {
        let size = volume.geometry.size
        var head = IOBuffer(byteCount: Int(min(size, headSize)))
        var headBytes = head.mutableBytes
        try await volume.read(into: &headBytes, at: 0)
        let footerStart = size - min(size, footerSize)
        var footer = IOBuffer(byteCount: Int(size - footerStart))
        var footerBytes = footer.mutableBytes
        try await volume.read(into: &footerBytes, at: footerStart)
        return all(head: head.bytes.array, footer: footer.bytes.array)
    }

    static func all(head: [UInt8], footer: [UInt8]) -> Set<ImageSignature> {
        Set(allCases.filter { $0.matches(head: head[...], footer: footer[...]) })
    }

    private func matches(head: ArraySlice<UInt8>, footer: ArraySlice<UInt8>) -> Bool {
        switch self {
        case .qcow: head.starts(with: Self.qfi + [0, 0, 0, 1])
        // Whatever the version: one that does not exist is not raw either.
        case .qcow2: head.starts(with: Self.qfi) && !head.starts(with: Self.qfi + [0, 0, 0, 1])
        case .qed: head.starts(with: "QED\0".utf8)
        case .vmdk:
            head.starts(with: "KDMV".utf8) || head.starts(with: "COWD".utf8) || head.starts(with: "SESP".utf8)
                || Self.isVMDKDescriptor(head)
        case .vdi: head.dropFirst(64).starts(with: [0x7f, 0x10, 0xda, 0xbe])
        // A fixed image has only the footer.
        case .vhd: head.starts(with: "conectix".utf8) || footer.starts(with: "conectix".utf8)
        case .vhdx: head.starts(with: "vhdxfile".utf8)
        case .luks: head.starts(with: Array("LUKS".utf8) + [0xba, 0xbe])
        case .parallels: head.starts(with: "WithoutFreeSpace".utf8) || head.starts(with: "WithouFreSpacExt".utf8)
        case .bochs: head.starts(with: "Bochs Virtual HD Image".utf8)
        case .dmg: footer.starts(with: "koly".utf8)
        case .cloop: head.starts(with: "#!/bin/sh\n#V2.0 Format\n".utf8)
        case .gzip: head.starts(with: Compression.gzip.magic)
        case .bzip2: head.starts(with: Compression.bzip2.magic) && head.dropFirst(4).starts(with: Self.bzip2Block)
        case .xz: head.starts(with: Compression.xz.magic)
        case .zstd: head.starts(with: Compression.zstd.magic)
        case .zip: head.starts(with: Compression.zip.magic)
        }
    }

    private static let qfi: [UInt8] = [0x51, 0x46, 0x49, 0xfb]
    private static let bzip2Block: [UInt8] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59]

    /// A text file that describes a disk: comments and empty lines, then `version=`, as QEMU recognises it.
    private static func isVMDKDescriptor(_ head: ArraySlice<UInt8>) -> Bool {
        if head.starts(with: "# Disk DescriptorFile".utf8) { return true }
        for line in head.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true) {
            let text = line.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }
            if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
            return text.starts(with: "version=".utf8)
        }
        return false
    }
}
