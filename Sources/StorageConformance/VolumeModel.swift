import BlockStorage
import IORuntime

/// What a volume must hold: a copy of parts of it in memory.
///
/// A small volume is covered whole, a large one at its beginning, in its middle and at its end, so that storage with a
/// large minimum size can be tested too.
struct VolumeModel: Sendable {
    private struct Window {
        var start: UInt64
        var bytes: [UInt8]

        var end: UInt64 { start + UInt64(bytes.count) }
    }

    /// The largest part of a volume that is covered in one piece.
    private static let windowSize: UInt64 = 4 << 20

    private var windows: [Window] = []
    private var generator: SeededGenerator
    /// In bytes.
    private(set) var size: UInt64

    /// A volume of zeros.
    init(size: UInt64, seed: UInt64) {
        self.size = size
        generator = SeededGenerator(seed: seed)
        cover(0..<size)
    }

    private mutating func cover(_ range: Range<UInt64>) {
        let length = range.upperBound - range.lowerBound
        if length <= 3 * Self.windowSize {
            windows.append(Window(start: range.lowerBound, bytes: Array(repeating: 0, count: Int(length))))
        } else {
            let middle = (range.lowerBound + length / 2) & ~0xffff
            for start in [range.lowerBound, middle, range.upperBound - Self.windowSize] {
                windows.append(Window(start: start, bytes: Array(repeating: 0, count: Int(Self.windowSize))))
            }
        }
    }

    /// The volume has grown: what is new reads as zeros.
    mutating func grow(to newSize: UInt64) {
        cover(size..<newSize)
        size = newSize
    }

    /// The volume has shrunk.
    mutating func shrink(to newSize: UInt64) {
        windows = windows.compactMap { window in
            guard window.start < newSize else { return nil }
            var window = window
            if window.end > newSize { window.bytes.removeLast(Int(window.end - newSize)) }
            return window
        }
        size = newSize
    }

    /// Does pseudo-random writes, zero writes, discards and flushes to the volume and to the model.
    mutating func mutate(_ volume: any Volume, operations: Int) async throws {
        let block = UInt64(max(volume.geometry.blockSize, 1))
        for _ in 0..<operations {
            let index = Int.random(in: 0..<windows.count, using: &generator)
            let window = windows[index]
            let blocks = UInt64(window.bytes.count) / block
            guard blocks > 0 else { continue }
            // Mostly small requests, some that span many clusters.
            let largest: UInt64 = UInt64.random(in: 0..<8, using: &generator) == 0 ? 300 << 10 : 20 << 10
            let count = UInt64.random(in: 1...max(1, min(blocks, largest / block)), using: &generator)
            let first = UInt64.random(in: 0...(blocks - count), using: &generator)
            let range = Int(first * block)..<Int((first + count) * block)
            let offset = window.start + UInt64(range.lowerBound)
            switch UInt64.random(in: 0..<20, using: &generator) {
            case 0..<14: try await write(volume, index, range)
            case 14..<17:
                try await volume.writeZeroes(offset..<offset + UInt64(range.count))
                windows[index].bytes.replaceSubrange(range, with: repeatElement(0, count: range.count))
            case 17..<19: try await discard(volume, index, range)
            default: try await volume.flush()
            }
        }
    }

    private mutating func write(_ volume: any Volume, _ index: Int, _ range: Range<Int>) async throws {
        let bytes = pattern(range.count)
        let options: WriteOptions = bytes.first.map { $0 % 8 == 0 } == true ? .forceUnitAccess : []
        try await volume.write(
            bytes.rawBytes, at: windows[index].start + UInt64(range.lowerBound), options: options)
        windows[index].bytes.replaceSubrange(range, with: bytes)
    }

    /// A discarded byte may keep its value or become zero; whichever it is, it stays so.
    private mutating func discard(_ volume: any Volume, _ index: Int, _ range: Range<Int>) async throws {
        let offset = windows[index].start + UInt64(range.lowerBound)
        try await volume.discard(offset..<offset + UInt64(range.count))
        let found = try await volume.bytes(at: offset, count: range.count)
        if found.rawBytes.isZero {
            windows[index].bytes.replaceSubrange(range, with: found)
            return
        }
        if windows[index].bytes[range].elementsEqual(found) { return }
        for (position, byte) in zip(range, found) {
            let old = windows[index].bytes[position]
            try expect(
                byte == 0 || byte == old,
                "byte \(windows[index].start + UInt64(position)) is \(byte) after a discard: neither 0 nor \(old)")
            windows[index].bytes[position] = byte
        }
    }

    /// Bytes that are never zero and differ from those of any other call: noise, stamped every 512 bytes.
    mutating func pattern(_ count: Int) -> [UInt8] {
        let noise = Self.noise
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var start = Int.random(in: 0..<noise.count, using: &generator)
        while bytes.count < count {
            bytes.append(contentsOf: noise[start..<min(noise.count, start + count - bytes.count)])
            start = 0
        }
        for start in stride(from: 0, to: count, by: 512) {
            var stamp = generator.next() | 0x0101_0101_0101_0101
            for position in start..<min(start + 8, count) {
                bytes[position] = UInt8(truncatingIfNeeded: stamp)
                stamp >>= 8
            }
        }
        return bytes
    }

    private static let noise: [UInt8] = {
        var generator = SeededGenerator(seed: 0)
        return (0..<64 << 10).map { _ in UInt8.random(in: 1...255, using: &generator) }
    }()

    /// Fails at the first byte that differs from the model, or if the size does.
    func verify(_ volume: any Volume, _ what: String) async throws {
        try expectEqual(volume.geometry.size, size, "size \(what)")
        let step = 256 << 10
        for (number, window) in windows.enumerated() {
            for start in stride(from: 0, to: window.bytes.count, by: step) {
                let end = min(start + step, window.bytes.count)
                let (offset, count) = (window.start + UInt64(start), end - start)
                let found =
                    (number + start / step).isMultiple(of: 2)
                    ? try await volume.bytes(at: offset, count: count)
                    : try await volume.bytesByExchange(at: offset, count: count)
                let isSame = found.rawBytes.hasSameBytes(as: window.bytes.rawBytes.extracting(start..<end))
                guard !isSame,
                    let index = zip(window.bytes[start..<end], found).enumerated().first(where: { $1.0 != $1.1 })?
                        .offset
                else { continue }
                throw ConformanceFailure(
                    "byte \(window.start + UInt64(start + index)) is \(found[index]) \(what), "
                        + "not \(window.bytes[start + index])")
            }
        }
    }
}

extension Volume {
    /// `count` bytes from `offset` on.
    func bytes(at offset: UInt64, count: Int) async throws(StorageError) -> [UInt8] {
        var result = [UInt8](repeating: 0xa5, count: count)
        var bytes = result.mutableRawBytes
        try await read(into: &bytes, at: offset)
        return result
    }

    /// As `bytes`, read into the middle of a buffer that the volume may take for another.
    fileprivate func bytesByExchange(at offset: UInt64, count: Int) async throws(StorageError) -> [UInt8] {
        var buffer = IOBuffer(byteCount: count + 96)
        try await read(into: &buffer, 32..<32 + count, at: offset)
        var result = [UInt8](repeating: 0xa5, count: count)
        var bytes = result.mutableRawBytes
        bytes.copy(from: buffer.bytes.extracting(32..<32 + count))
        return result
    }
}
