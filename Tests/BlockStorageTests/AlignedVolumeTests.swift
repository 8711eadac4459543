import IORuntime
import Testing

@testable import BlockStorage

@Suite struct AlignedVolumeTests {
    @Test("any sequence of requests has the effect that it has on a volume without blocks", arguments: 0..<20)
    func equalsModel(seed: UInt64) async throws {
        var randomness = SeededGenerator(seed: seed)
        let size = 40960
        let blockSize = [512, 4096].randomElement(using: &randomness) ?? 512
        var model = randomness.bytes(size)
        let base = StrictVolume(model, blockSize: UInt32(blockSize))
        let volume = AlignedVolume(base)
        #expect(volume.geometry.blockSize == 1)
        for _ in 0..<60 {
            let start = Int.random(in: 0...size, using: &randomness)
            let count = Int.random(in: 0...min(size - start, 3 * blockSize), using: &randomness)
            let range = UInt64(start)..<UInt64(start + count)
            switch Int.random(in: 0..<4, using: &randomness) {
            case 0:
                let bytes = randomness.bytes(count)
                try await volume.write(bytes, at: UInt64(start))
                model.replaceSubrange(start..<start + count, with: bytes)
            case 1:
                try await volume.writeZeroes(range)
                model.replaceSubrange(start..<start + count, with: repeatElement(0, count: count))
            case 2:
                let isSame = try await volume.read(range) == Array(model[start..<start + count])
                #expect(isSame)
            default:
                let extents = try await volume.extents(in: range)
                #expect(extents.reduce(0) { $0 + $1.range.count } == count)
            }
        }
        let isSame = base.memory.contents == model
        #expect(isSame)
    }

    @Test("writes to neighbouring bytes of one block, all at once, are all there")
    func neverLosesNeighbours() async throws {
        let base = StrictVolume(size: 8192, blockSize: 4096)
        let volume = AlignedVolume(base)
        await withTaskGroup { group in
            for index in 0..<256 {
                group.addTask {
                    let bytes = [UInt8](repeating: UInt8(index), count: 32)
                    try? await volume.write(bytes, at: UInt64(index * 32))
                }
            }
        }
        #expect(base.memory.contents == (0..<8192).map { UInt8($0 / 32) })
    }

    @Test("an aligned write is never undone by a partial write of the same block")
    func neverUndoesAlignedWrites() async throws {
        for _ in 0..<50 {
            let base = StrictVolume(size: 4096, blockSize: 4096)
            let volume = AlignedVolume(base)
            await withTaskGroup { group in
                group.addTask { try? await volume.write([1, 2], at: 0) }
                group.addTask {
                    try? await volume.write([UInt8](repeating: 7, count: 4096), at: 0)
                }
            }
            #expect(base.memory.contents.dropFirst(2).allSatisfy { $0 == 7 })
        }
    }

    @Test("a request past the end is refused and changes nothing")
    func refusesPastEnd() async throws {
        let base = StrictVolume(size: 4096, blockSize: 512)
        let volume = AlignedVolume(base)
        let error = await #expect(throws: StorageError.self) {
            try await volume.write([1, 2], at: 4095)
        }
        #expect(error?.code == .outOfRange)
        #expect(base.memory.contents.allSatisfy { $0 == 0 })
    }

    @Test("a discard keeps the bytes around it")
    func discardKeepsNeighbours() async throws {
        let base = StrictVolume([UInt8](repeating: 3, count: 4096), blockSize: 512)
        try await AlignedVolume(base).discard(100..<2000)
        let contents = base.memory.contents
        #expect(contents.prefix(100).allSatisfy { $0 == 3 })
        #expect(contents.dropFirst(2000).allSatisfy { $0 == 3 })
    }

    @Test("waiters go in order, and an exclusive one waits for all that overlap it")
    func locksInOrder() async {
        let lock = RangeLock()
        let order = Locked<[Int]>([])
        let first = await lock.acquire(0..<10, .shared)
        let second = await lock.acquire(5..<8, .shared)
        let (waits, waiting) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            waiting.yield()
            let hold = await lock.acquire(0..<4, .exclusive)
            order.withLock { $0.append(2) }
            lock.release(hold)
        }
        for await _ in waits { break }
        lock.release(second)
        order.withLock { $0.append(1) }
        lock.release(first)
        await task.value
        #expect(order.withLock { $0 } == [1, 2])
        let disjoint = await lock.acquire(20..<30, .exclusive)
        let other = await lock.acquire(30..<40, .exclusive)
        lock.release(disjoint)
        lock.release(other)
    }
}
