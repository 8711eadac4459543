import BlockStorage
import Testing

@testable import Templates

@Suite struct ImageSignatureTests {
    @Test(
        "every kind of image that QEMU makes is recognised",
        arguments: [
            ("qcow", ImageSignature.qcow), ("qcow2", .qcow2), ("qed", .qed), ("vmdk", .vmdk), ("vdi", .vdi),
            ("vpc", .vhd), ("vhdx", .vhdx), ("parallels", .parallels),
        ])
    func recognises(format: String, signature: ImageSignature) async throws {
        let directory = try TemporaryDirectory()
        try directory.run("qemu-img", "create", "-q", "-f", format, "image", "10M")
        #expect(try await ImageSignature.all(in: MemoryVolume(directory.read("image"))) == [signature])
    }

    @Test("a fixed VHD image is recognised by its end, and a VMDK descriptor by its text")
    func recognisesUnusual() async throws {
        let directory = try TemporaryDirectory()
        try directory.run("qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed", "fixed", "10M")
        #expect(try await ImageSignature.all(in: MemoryVolume(directory.read("fixed"))) == [.vhd])
        try directory.run(
            "qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "flat.vmdk", "10M")
        #expect(try await ImageSignature.all(in: MemoryVolume(directory.read("flat.vmdk"))) == [.vmdk])
        let text = Array("# a comment\n\n  version=1\nRW 1 FLAT \"/etc/passwd\" 0\n".utf8)
        #expect(ImageSignature.all(head: text, footer: []) == [.vmdk])
    }

    @Test("a LUKS header, a disk image with a footer, and packed files are recognised")
    func recognisesOthers() {
        #expect(ImageSignature.all(head: Array("LUKS".utf8) + [0xba, 0xbe, 0, 1], footer: []) == [.luks])
        #expect(ImageSignature.all(head: [0], footer: Array("koly".utf8)) == [.dmg])
        #expect(ImageSignature.all(head: [0x1f, 0x8b, 8, 0], footer: []) == [.gzip])
        #expect(ImageSignature.all(head: Array("BZh91AY&SY".utf8), footer: []) == [.bzip2])
    }

    @Test("one file can look like several things")
    func findsSeveral() {
        var head = [UInt8](repeating: 0, count: 512)
        head.replaceSubrange(0..<8, with: [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3])
        head.replaceSubrange(64..<68, with: [0x7f, 0x10, 0xda, 0xbe])
        #expect(ImageSignature.all(head: head, footer: Array("conectix".utf8)) == [.qcow2, .vdi, .vhd])
    }

    @Test("disks with a partition table, an ISO image, empty and random ones look like nothing")
    func leavesRawAlone() async throws {
        #expect(try await ImageSignature.all(in: MemoryVolume(size: 0)).isEmpty)
        #expect(try await ImageSignature.all(in: MemoryVolume(size: 1)).isEmpty)
        var disk = [UInt8](repeating: 0, count: 40000)
        disk.replaceSubrange(510..<512, with: [0x55, 0xaa])
        disk.replaceSubrange(512..<520, with: Array("EFI PART".utf8))
        disk.replaceSubrange(32769..<32774, with: Array("CD001".utf8))
        #expect(try await ImageSignature.all(in: MemoryVolume(disk)).isEmpty)
        for seed in 0..<50 {
            var randomness = SeededGenerator(seed: UInt64(seed))
            #expect(ImageSignature.all(head: randomness.bytes(4096), footer: randomness.bytes(512)).isEmpty)
        }
    }
}
