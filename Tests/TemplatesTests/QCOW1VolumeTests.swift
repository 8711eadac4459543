#if LegacyQCOW
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import Templates

    @Suite struct QCOW1VolumeTests {
        /// An image that QEMU made of a disk, and the disk.
        private func image(seed: UInt64, compressed: Bool = false) throws -> (image: [UInt8], disk: [UInt8]) {
            var randomness = SeededGenerator(seed: seed)
            let directory = try TemporaryDirectory()
            let disk = randomness.disk(Int.random(in: 1...1000, using: &randomness) * 512)
            try directory.write(disk, to: "disk")
            if compressed {
                // QEMU 7.2 writes all of the image, and then exits with 1.
                let convert = "qemu-img convert -c -f raw -O qcow disk image"
                try directory.run("sh", "-c", "\(convert); qemu-img compare -f raw -F qcow disk image")
            } else {
                try directory.run("qemu-img", "convert", "-f", "raw", "-O", "qcow", "disk", "image")
            }
            return (try directory.read("image"), disk)
        }

        private func withVolume<Result>(_ image: [UInt8], _ body: (QCOW1Volume) async throws -> Result) async throws
            -> Result
        {
            let directory = try TemporaryDirectory()
            let volume = try await QCOW1Volume(File.open(directory.write(image, to: "image")))
            let result: Result
            do {
                result = try await body(volume)
            } catch {
                try? await volume.close()
                throw error
            }
            try await volume.close()
            return result
        }

        @Test("what QEMU wrote is read, in every order", arguments: 0..<4, [false, true])
        func readsImages(seed: UInt64, compressed: Bool) async throws {
            let (image, disk) = try image(seed: seed, compressed: compressed)
            try await withVolume(image) { volume async throws in
                #expect(volume.geometry.isReadOnly)
                let isSame = try await volume.contents == disk
                #expect(isSame)
                var randomness = SeededGenerator(seed: seed)
                for _ in 0..<50 {
                    let start = Int.random(in: 0..<disk.count, using: &randomness)
                    let end = Int.random(in: start...min(disk.count, start + 20000), using: &randomness)
                    let isSame = try await volume.read(UInt64(start)..<UInt64(end)) == Array(disk[start..<end])
                    #expect(isSame)
                }
            }
        }

        @Test("extents cover a range, and what they call holes reads as zeros", arguments: 0..<4)
        func mapsExtents(seed: UInt64) async throws {
            let (image, disk) = try image(seed: seed)
            try await withVolume(image) { volume async throws in
                let range = UInt64(disk.count / 3)..<UInt64(disk.count)
                let extents = try await volume.extents(in: range)
                #expect(extents.first?.range.lowerBound == range.lowerBound)
                #expect(extents.last?.range.upperBound == range.upperBound)
                #expect(zip(extents, extents.dropFirst()).allSatisfy { $0.range.upperBound == $1.range.lowerBound })
                for extent in extents where extent.kind != .data {
                    #expect(disk[Int(extent.range.lowerBound)..<Int(extent.range.upperBound)].allSatisfy { $0 == 0 })
                }
                let copy = MemoryVolume(size: UInt64(disk.count))
                try await volume.copy(to: copy)
                let isSame = copy.contents == disk
                #expect(isSame)
            }
        }

        @Test("an encrypted image, one with a backing file, and one of another version are refused with the reason")
        func refusesByHeader() async throws {
            let (image, _) = try image(seed: 1)
            for (offset, code, word) in [
                (39, StorageError.Code.unsafeImage, "encrypted"), (15, .unsafeImage, "backing"),
                (19, .unsafeImage, "backing"), (7, .unsafeImage, "version 1"), (0, .unsafeImage, "version 1"),
                (32, .corrupt, "size"), (33, .corrupt, "size"), (24, .corrupt, "size"), (40, .corrupt, "outside"),
            ] {
                var bad = image
                bad[offset] = 99
                let error = await #expect(throws: StorageError.self) { try await withVolume(bad) { _ in } }
                #expect(
                    error?.code == code && error?.why.contains(word) == true,
                    "byte \(offset): \(String(describing: error))")
            }
        }

        @Test("no byte of the header, changed to anything, does worse than an error", arguments: 0..<48)
        func survivesHeaderChanges(offset: Int) async throws {
            let (image, disk) = try image(seed: 2)
            for value in [0, 1, 2, 8, 9, 13, 16, 17, 63, 64, 127, 128, 255] as [UInt8] {
                var bad = image
                bad[offset] = value
                do {
                    try await withVolume(bad) { volume async throws in
                        #expect(volume.geometry.size <= 1 << 62)
                        _ = try await volume.read(0..<min(volume.geometry.size, UInt64(disk.count)))
                    }
                } catch let error as StorageError {
                    #expect(error.code == .unsafeImage || error.code == .corrupt)
                }
            }
        }

        @Test("random changes of the tables and the data never crash a reader", arguments: 0..<30)
        func survivesTableChanges(seed: UInt64) async throws {
            var randomness = SeededGenerator(seed: seed)
            var (image, disk) = try image(seed: seed % 3, compressed: seed % 2 == 0)
            for _ in 0..<Int.random(in: 1...8, using: &randomness) {
                let end = Bool.random(using: &randomness) ? min(image.count, 8192) : image.count
                image[Int.random(in: 48..<end, using: &randomness)] = UInt8.random(in: 0...255, using: &randomness)
            }
            do {
                try await withVolume(image) { volume async throws in
                    _ = try await volume.extents(in: 0..<volume.geometry.size)
                    _ = try await volume.read(0..<min(volume.geometry.size, UInt64(disk.count)))
                }
            } catch let error as StorageError {
                #expect(error.code == .corrupt)
            }
        }

        @Test("a file that was cut anywhere does no worse than an error")
        func survivesTruncation() async throws {
            let (image, _) = try image(seed: 1)
            for cut in [0, 1, 47, 48, 49, 100, 4096, image.count / 2, image.count - 1] {
                do {
                    try await withVolume(Array(image.prefix(cut))) { _ = try await $0.contents }
                } catch let error as StorageError {
                    #expect(error.code == .corrupt)
                }
            }
        }
    }
#endif
