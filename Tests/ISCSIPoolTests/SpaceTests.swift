#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("The space of a volume on an iSCSI target")
    struct SpaceTests {
        @Test("is given back by discarding, and what is said of it is what reads find", arguments: ["512", "4096"])
        func discardAndExtents(blockSize: String) async throws {
            let target = try await TestTarget.start("--block-size", blockSize)
            let volume = try await target.open()
            let step = UInt64(volume.geometry.blockSize)
            #expect(String(step) == blockSize)
            try await volume.fill(1, 0..<4 << 20)
            var model = [UInt8](repeating: 1, count: 4 << 20)
            var generator = SeededGenerator(seed: 3)
            for _ in 0..<40 {
                let start = UInt64.random(in: 0..<(4 << 20) / step, using: &generator) * step
                let limit = Bool.random(using: &generator) ? (1 << 20) / step : 8
                let count = UInt64.random(in: 1...limit, using: &generator) * step
                let range = start..<min(4 << 20, start + count)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0:
                    try await volume.discard(range)
                    // Zeros, or as before.
                    let found = try await volume.bytes(at: range.lowerBound, count: range.count)
                    #expect(zip(found, model[Int(range.lowerBound)...]).allSatisfy { $0 == 0 || $0 == $1 })
                    model.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: found)
                case 1:
                    try await volume.writeZeroes(range)
                    model.replaceSubrange(
                        Int(range.lowerBound)..<Int(range.upperBound), with: repeatElement(0, count: range.count))
                default:
                    try await volume.writeZeroes(range, options: [.keepAllocated, .forceUnitAccess])
                    model.replaceSubrange(
                        Int(range.lowerBound)..<Int(range.upperBound), with: repeatElement(0, count: range.count))
                }
            }
            #expect(try await volume.bytes(at: 0, count: model.count) == model)
            let extents = try await volume.extents(in: step..<32 << 20)
            var position = step
            for extent in extents {
                #expect(extent.range.lowerBound == position)
                position = extent.range.upperBound
                guard extent.kind != .data else { continue }
                let bytes = try await volume.bytes(at: extent.range.lowerBound, count: extent.range.count)
                #expect(bytes.allSatisfy { $0 == 0 }, "\(extent)")
            }
            #expect(position == 32 << 20)
            #expect(extents.contains { $0.kind == .hole })
            try await volume.close()
        }

        @Test("is checked before anything is asked of the target")
        func bounds() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open()
            let size = volume.geometry.size
            let past = await failure { try await volume.fill(1, size..<size + 512) }
            #expect(past?.code == .outOfRange)
            let odd = await failure { try await volume.fill(1, 1..<513) }
            #expect(odd?.code == .invalidArgument)
            try await volume.close()
            let closed = await failure { try await volume.fill(1, 0..<512) }
            #expect(closed?.code == .notAttached)
            try await volume.close()

            let reader = try await target.open { _, options in options.isReadOnly = true }
            let write = await failure { try await reader.fill(1, 0..<512) }
            #expect(write?.code == .readOnly)
            try await reader.close()
        }
    }
#endif
