import BlockStorage
import FilePool
import IORuntime
import SystemPackage
import Testing

@testable import Templates

@Suite struct FilePoolImportTests {
    private let directory: TemporaryDirectory
    private let poolDirectory: TemporaryDirectory
    private let disk: [UInt8]

    init() throws {
        directory = try TemporaryDirectory()
        poolDirectory = try TemporaryDirectory()
        var randomness = SeededGenerator(seed: 5)
        disk = randomness.disk(1000 * 512)
        try directory.write(disk, to: "disk")
    }

    @Test("a packed image with snapshots and an old version becomes a clean, flat template that clones build on")
    func importsIntoDirectory() async throws {
        try directory.run("qemu-img", "convert", "-O", "qcow2", "-o", "compat=0.10,cluster_size=512", "disk", "image")
        try directory.run("qemu-img", "snapshot", "-c", "old", "image")
        try directory.run("xz", "-1", "image")
        let pool = try await FilePool.open("pool", .directory, path: poolDirectory.path.string)
        let template = TemplateImport(
            name: "debian", source: FileTemplateSource(path: directory("image.xz")), format: .qcow2,
            scratchDirectory: directory.path)
        let result = try await template.run(into: pool)
        #expect(result.template.isTemplate && result.template.snapshots.isEmpty)
        let path = result.template.path
        try directory.run("qemu-img", "check", "-f", "qcow2", path)
        try directory.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "disk", path)
        #expect(try !directory.run("qemu-img", "info", path).contains("old"))
        #expect(try await template.run(into: pool).wasThere)

        let clone = try await pool.cloneVolume(VolumeReference("debian"), as: "web", CloneRequest())
        try directory.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "disk", clone.path)
        let volume = try await pool.openVolume(VolumeReference("web"), mode: .readOnly)
        try await ImageFile.write(volume, to: directory("out"), .qcow2, compression: .zstd)
        try await volume.close()
        try directory.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "disk", "out")
    }

    @Test("an import that fails leaves no file in the pool, also when it fails in the middle of the copy")
    func leavesNothing() async throws {
        let pool = try await FilePool.open("pool", .directory, path: poolDirectory.path.string)
        let before = poolDirectory.names
        try directory.run("qemu-img", "convert", "-c", "-O", "qcow2", "disk", "image")
        var image = try directory.read("image")
        for index in image.count - 4000..<image.count - 1000 { image[index] ^= 0x55 }
        try directory.write(image, to: "damaged")
        for (file, format, checksum, code) in [
            ("damaged", VolumeFormat.qcow2, nil, StorageError.Code.corrupt),
            ("disk", .raw, "md5:00000000000000000000000000000000", .checksumMismatch),
        ] {
            let template = TemplateImport(
                name: "debian", source: FileTemplateSource(path: directory(file)), format: format,
                checksum: try checksum.map { try Checksum($0) }, scratchDirectory: poolDirectory.path)
            let error = await #expect(throws: StorageError.self) { try await template.run(into: pool) }
            #expect(error?.code == code)
            #expect(poolDirectory.names == before)
            #expect(try await pool.listTemplates().isEmpty)
        }
    }
}
