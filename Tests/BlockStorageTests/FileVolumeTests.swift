import BlockStorage
import Glibc
import IORuntime
import SystemPackage
import Testing

@Suite("FileVolume")
struct FileVolumeTests {
    private final class TemporaryFile {
        let path = "/var/tmp/sluice-filevolume-\(UInt64.random(in: 0 ... .max))"
        deinit { unlink(path) }
    }

    private func open(_ file: TemporaryFile, size: UInt64, isDirect: Bool = false) async throws -> FileVolume {
        let made = try await File.open(FilePath(file.path), [.write, .create])
        try await made.truncate(to: size)
        try await made.close()
        return try await FileVolume.open(FilePath(file.path), isDirect: isDirect)
    }

    @Test("aligned and unaligned requests mix, with and without the page cache", arguments: [false, true])
    func mixedRequests(isDirect: Bool) async throws {
        let file = TemporaryFile()
        let size = 256 << 10
        let volume = try await open(file, size: UInt64(size), isDirect: isDirect)
        var model = [UInt8](repeating: 0, count: size)
        var random = SystemRandomNumberGenerator()
        for round in 0..<400 {
            let grain = round % 2 == 0 ? 4096 : 1
            let start = Int.random(in: 0..<size / grain, using: &random) * grain
            let count = min(size - start, max(grain, Int.random(in: 1...20_000, using: &random) / grain * grain))
            var buffer = IOBuffer(byteCount: count)
            var bytes = buffer.mutableBytes
            if round % 3 == 0 {
                try await volume.read(into: &bytes, at: UInt64(start))
                let isSame = bytes.withUnsafeBytes { $0.elementsEqual(model[start..<start + count]) }
                #expect(isSame, "bytes \(start)..<\(start + count)")
            } else {
                let value = UInt8.random(in: 0...255, using: &random)
                _ = bytes.withUnsafeMutableBytes { $0.initializeMemory(as: UInt8.self, repeating: value) }
                try await volume.write(buffer.bytes, at: UInt64(start))
                model.replaceSubrange(start..<start + count, with: repeatElement(value, count: count))
            }
        }
        try await volume.close()
        try await volume.close()
    }

    @Test("requests past the end, on a closed or on a read-only volume change nothing")
    func refusals() async throws {
        let file = TemporaryFile()
        let volume = try await open(file, size: 8192)
        let byte: [UInt8] = [1]
        let past = await #expect(throws: StorageError.self) { try await volume.write(byte.span.bytes, at: 8192) }
        #expect(past?.code == .outOfRange)
        let overflow = await #expect(throws: StorageError.self) { try await volume.write(byte.span.bytes, at: .max) }
        #expect(overflow?.code == .outOfRange)
        let reader = try await FileVolume.open(FilePath(file.path), isReadOnly: true)
        let refused = await #expect(throws: StorageError.self) { try await reader.write(byte.span.bytes, at: 0) }
        #expect(refused?.code == .readOnly)
        try await volume.close()
        let closed = await #expect(throws: StorageError.self) { try await volume.flush() }
        #expect(closed?.code == .notAttached)
    }

    @Test("discarded and zeroed ranges read as zeros, and holes are told from data")
    func zeros() async throws {
        let file = TemporaryFile()
        let volume = try await open(file, size: 1 << 20)
        let ones = [UInt8](repeating: 1, count: 1 << 20)
        try await volume.write(ones.span.bytes, at: 0)
        try await volume.discard(0..<65536)
        try await volume.writeZeroes(65536..<131072)
        try await volume.writeZeroes(131072..<196608, options: .keepAllocated)
        var read = try await bytes(of: volume, 0..<262144)
        let isZero = read[0..<196608].allSatisfy { $0 == 0 }
        #expect(isZero)
        #expect(read[196608] == 1)
        let extents = try await volume.extents(in: 0..<1 << 20)
        #expect(extents.first == Extent(0..<131072, .hole))
        #expect(extents.last?.range.upperBound == 1 << 20)
        try await volume.resize(to: 4096)
        try await volume.resize(to: 8192)
        read = try await bytes(of: volume, 0..<8192)
        #expect(read[4095] == 0 && read[4096] == 0)
        try await volume.close()
    }

    private func bytes(of volume: FileVolume, _ range: Range<UInt64>) async throws -> [UInt8] {
        var buffer = IOBuffer(byteCount: range.count)
        var bytes = buffer.mutableBytes
        try await volume.read(into: &bytes, at: range.lowerBound)
        return bytes.withUnsafeBytes { Array($0) }
    }
}
