#if Archives
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import Templates

    @Suite struct UnpackerTests {
        /// What a file unpacks to.
        private func unpack(
            _ bytes: [UInt8], _ compression: Compression?, limits: ImportLimits = ImportLimits(),
            adding algorithm: Checksum.Algorithm? = nil
        ) async throws -> (contents: [UInt8], checksum: Checksum?, allocated: UInt64) {
            let directory = try TemporaryDirectory()
            let source = FileTemplateSource(path: try directory.write(bytes, to: "source"))
            let input = try await source.open()
            let stream = try SourceStream(input, name: "source", adding: algorithm.map { [$0] } ?? [])
            let scratch = try await ScratchFile.make(in: directory.path)
            #expect(directory.names == ["source"])
            let scratchVolume = try await FileVolume(scratch, isReadOnly: false)
            let unpacker = try Unpacker(stream, compression, limits: limits)
            let writer = ImageWriter(scratchVolume)
            while let chunk = try await unpacker.next() { try await writer.write(chunk) }
            try await writer.finish(size: unpacker.size)
            let allocated = try await scratch.status().allocatedSize
            let volume = scratchVolume
            let contents = try await volume.contents
            try await volume.close()
            await input.close()
            #expect(stream.bytesRead == UInt64(bytes.count))
            return (contents, try stream.checksums().first, allocated)
        }

        private func pack(_ contents: [UInt8], _ compression: Compression) throws -> [UInt8] {
            let directory = try TemporaryDirectory()
            try directory.write(contents, to: "disk")
            switch compression {
            case .gzip: try directory.run("gzip", "-n", "disk")
            case .bzip2: try directory.run("bzip2", "disk")
            case .xz: try directory.run("xz", "-1", "disk")
            case .zstd: try directory.run("zstd", "-q", "--rm", "disk")
            case .zip: try directory.run("zip", "-q", "disk.zip", "disk")
            }
            return try directory.read("disk" + compression.fileNameEnding)
        }

        @Test(
            "what was packed comes out, with holes for zeros, and the checksum is that of the file as given",
            arguments: Compression.allCases, 0..<3)
        func unpacksAll(compression: Compression, seed: UInt64) async throws {
            var randomness = SeededGenerator(seed: seed)
            let zeros = [UInt8](repeating: 0, count: 4 << 20)
            let contents = randomness.disk(Int.random(in: 1...500_000, using: &randomness)) + zeros + [1]
            let packed = try pack(contents, compression)
            let result = try await unpack(packed, compression, adding: .sha256)
            let isSame = result.contents == contents
            #expect(isSame)
            #expect(result.allocated < contents.count - zeros.count / 2)
            let plain = try await unpack(packed, nil, adding: .sha256)
            let isCopied = plain.contents == packed
            #expect(isCopied)
            #expect(plain.checksum == result.checksum)
        }

        @Test(
            "files of several parts in a row unpack to all of them", arguments: [Compression.gzip, .bzip2, .xz, .zstd])
        func unpacksMembers(compression: Compression) async throws {
            let packed = try pack(Array("first".utf8), compression) + pack(Array("second".utf8), compression)
            #expect(try await unpack(packed, compression).contents == Array("firstsecond".utf8))
        }

        @Test("bytes after the end are refused", arguments: [Compression.gzip, .bzip2, .xz, .zstd])
        func refusesTrailer(compression: Compression) async throws {
            let packed = try pack(Array("first".utf8), compression)
            for trailer in [[7], Array("garbage that is no part".utf8), [UInt8](repeating: 7, count: 300_000)] {
                let error = await #expect(throws: StorageError.self) {
                    try await unpack(packed + trailer, compression).checksum
                }
                #expect(error?.code == .corrupt)
            }
        }

        @Test("a zip file whose sizes follow the data is unpacked")
        func unpacksStreamedZip() async throws {
            let directory = try TemporaryDirectory()
            try directory.write(Array("a disk".utf8), to: "disk")
            try directory.run("zip", "-q", "-fd", "out.zip", "disk")
            #expect(try await unpack(directory.read("out.zip"), .zip).contents == Array("a disk".utf8))
        }

        @Test("a file that was cut anywhere is refused", arguments: Compression.allCases)
        func refusesTruncated(compression: Compression) async throws {
            var randomness = SeededGenerator(seed: 3)
            let contents = randomness.disk(300_000)
            let packed = try pack(contents, compression)
            let cuts = [
                0, 1, 3, packed.count / 3, packed.count / 2, packed.count - 20, packed.count - 2, packed.count - 1,
            ]
            for cut in cuts {
                let error = await #expect(throws: StorageError.self, "\(compression) cut at \(cut) of \(packed.count)")
                {
                    try await unpack(Array(packed.prefix(cut)), compression).checksum
                }
                #expect(error?.code == .corrupt || error?.code == .unsafeImage)
            }
        }

        @Test("a changed byte in the packed data is noticed", arguments: Compression.allCases)
        func refusesDamaged(compression: Compression) async throws {
            var randomness = SeededGenerator(seed: 4)
            let contents = randomness.disk(200_000)
            let packed = try pack(contents, compression)
            for _ in 0..<20 {
                var damaged = packed
                damaged[Int.random(in: packed.count / 4..<packed.count * 3 / 4, using: &randomness)] ^= 0x10
                let error = await #expect(throws: StorageError.self) { try await unpack(damaged, compression).checksum }
                #expect(error?.code == .corrupt || error?.code == .unsafeImage)
            }
        }

        @Test("random bytes after the right beginning never crash it", arguments: Compression.allCases)
        func survivesGarbage(compression: Compression) async throws {
            for seed in 0..<20 {
                var randomness = SeededGenerator(seed: UInt64(seed))
                let garbage = compression.magic + randomness.bytes(Int.random(in: 0...5000, using: &randomness))
                await #expect(throws: StorageError.self) { try await unpack(garbage, compression).checksum }
            }
        }

        @Test(
            "a file that is not what it is declared is refused", arguments: Compression.allCases, Compression.allCases)
        func refusesMismatch(declared: Compression, real: Compression) async throws {
            guard declared != real else { return }
            let packed = try pack(Array("a disk".utf8), real)
            let error = await #expect(throws: StorageError.self) { try await unpack(packed, declared) }
            #expect(error?.code == .unsafeImage)
        }

        @Test("one layer is unpacked, not those inside it")
        func unpacksOneLayer() async throws {
            let inner = try pack(Array("a disk".utf8), .gzip)
            #expect(try await unpack(pack(inner, .gzip), .gzip).contents == inner)
        }

        @Test("what unpacks to more than the limit is refused, zeros included", arguments: Compression.allCases)
        func limitsSize(compression: Compression) async throws {
            let packed = try pack([UInt8](repeating: 0, count: 10 << 20), compression)
            var limits = ImportLimits()
            limits.largestSize = (10 << 20) - 1
            let error = await #expect(throws: StorageError.self) {
                try await unpack(packed, compression, limits: limits)
            }
            #expect(error?.code == .unsafeImage)
            limits.largestSize += 1
            #expect(try await unpack(packed, compression, limits: limits).contents.count == 10 << 20)
        }

        @Test("a bomb is refused long before the size limit")
        func limitsRatio() async throws {
            let packed = try pack([UInt8](repeating: 0x41, count: 100 << 20), .zstd)
            let error = await #expect(throws: StorageError.self) { try await unpack(packed, .zstd) }
            #expect(error?.code == .unsafeImage)
            #expect(error?.why.contains("times its size") == true)
        }

        @Test("unpacking ends when its time is over")
        func limitsTime() async throws {
            var limits = ImportLimits()
            limits.unpackTime = .zero
            let packed = try pack([UInt8](repeating: 0, count: 20 << 20), .gzip)
            let error = await #expect(throws: StorageError.self) { try await unpack(packed, .gzip, limits: limits) }
            #expect(error?.code == .unsafeImage)
        }

        @Test("a zip file whose only entry is a plain file is unpacked, with a comment too")
        func acceptsPlainZip() async throws {
            let zip = ZipFile(
                entries: [.init(name: "disk.raw", contents: [1, 2, 3])], comment: [UInt8](repeating: 9, count: 60000))
            #expect(try await unpack(zip.bytes, .zip).contents == [1, 2, 3])
        }

        private static let badZips: [(String, ZipFile)] = [
            ("two files", ZipFile(entries: [.init(name: "a", contents: [1]), .init(name: "b", contents: [2])])),
            (
                "a directory and a file",
                ZipFile(entries: [.init(name: "d/", contents: [], mode: 0o40755), .init(name: "d/a", contents: [1])])
            ),
            ("only a directory", ZipFile(entries: [.init(name: "d/", contents: [], mode: 0o40755)])),
            ("no entry", ZipFile(entries: [])),
            ("a name that climbs", ZipFile(entries: [.init(name: "../../etc/passwd", contents: [1])])),
            ("an absolute name", ZipFile(entries: [.init(name: "/etc/passwd", contents: [1])])),
            ("a backslash", ZipFile(entries: [.init(name: "..\\a", contents: [1])])),
            (
                "a symbolic link",
                ZipFile(entries: [.init(name: "a", contents: Array("/etc/passwd".utf8), mode: 0o120777)])
            ),
            ("a device", ZipFile(entries: [.init(name: "a", contents: [1], mode: 0o060600)])),
            ("another name in the directory", ZipFile(entries: [.init(name: "a", contents: [1], directoryName: "b")])),
            (
                "a hidden second file",
                ZipFile(entries: [
                    .init(name: "a", contents: [1]), .init(name: "b", contents: [2], isInDirectory: false),
                ])
            ),
            (
                "a second file in the directory only",
                ZipFile(entries: [.init(name: "a", contents: [1]), .init(name: "b", contents: [2], isInFile: false)])
            ),
            (
                "a file that the directory does not list",
                ZipFile(entries: [.init(name: "a", contents: [1], isInDirectory: false)])
            ),
        ]

        @Test("a zip file with anything but one plain file is refused", arguments: badZips.map(\.0))
        func refusesZip(name: String) async throws {
            let zip = try #require(Self.badZips.first { $0.0 == name }).1
            let error = await #expect(throws: StorageError.self) { try await unpack(zip.bytes, .zip) }
            #expect(error?.code == .unsafeImage || error?.code == .corrupt)
        }

        @Test("every change of a byte in a zip directory is refused or harmless")
        func survivesZipDirectoryChanges() async throws {
            let good = ZipFile(entries: [.init(name: "disk", contents: [1, 2, 3])]).bytes
            for index in (good.count - 72)..<good.count {
                for value in [UInt8(0), 0xff, good[index] ^ 1] {
                    var bad = good
                    bad[index] = value
                    do {
                        #expect(try await unpack(bad, .zip).contents == [1, 2, 3])
                    } catch let error as StorageError {
                        #expect(error.code == .unsafeImage || error.code == .corrupt)
                    }
                }
            }
        }
    }
#endif
