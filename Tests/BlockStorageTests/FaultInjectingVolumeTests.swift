import BlockStorage
import IORuntime
import Testing

@Suite("Injected faults")
struct FaultInjectingVolumeTests {
    private func outcomes(_ count: Int, of volume: FaultInjectingVolume) async -> [Bool] {
        var outcomes: [Bool] = []
        for _ in 0..<count {
            do {
                try await volume.flush()
                outcomes.append(true)
            } catch {
                outcomes.append(false)
            }
        }
        return outcomes
    }

    @Test("the n-th call fails once")
    func once() async throws {
        let volume = FaultInjectingVolume(MemoryVolume(size: 512))
        volume.fail(.flush, call: 3)
        #expect(await outcomes(5, of: volume) == [true, true, false, true, true])
        #expect(volume.callCount(.flush) == 5)
    }

    @Test("every call from the n-th on fails until it is healed")
    func fromThenOn() async throws {
        let volume = FaultInjectingVolume(MemoryVolume(size: 512))
        volume.fail(.flush, call: 2, fromThenOn: true)
        #expect(await outcomes(4, of: volume) == [true, false, false, false])
        volume.heal()
        #expect(await outcomes(1, of: volume) == [true])
    }

    @Test("a failed write changes nothing and throws the given error")
    func typed() async throws {
        let base = MemoryVolume(size: 512)
        let volume = FaultInjectingVolume(base)
        volume.fail(.write, with: StorageError(.noSpace, "write"))
        let error = await #expect(throws: StorageError.self) {
            try await volume.write([UInt8](repeating: 1, count: 512).rawBytes, at: 0)
        }
        #expect(error?.code == .noSpace)
        #expect(base.contents.allSatisfy { $0 == 0 })
        #expect(await outcomes(1, of: volume) == [true])
    }
}
