#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("Answers that are taken together")
    struct ISCSIModerationTests {
        @Test("are those to up to an eighth of many commands")
        func share() {
            var generator = SeededGenerator(seed: 1)
            for _ in 0..<1000 {
                var moderation = ISCSIModeration()
                moderation.awaitedByteCount = Int.random(in: 1000...1 << 20, using: &generator)
                let least = moderation.nextLeastByteCount(Int.random(in: 12...256, using: &generator))
                #expect(least <= 32 << 10 && least <= moderation.awaitedByteCount / 7)
                #expect(least == 32 << 10 || least > moderation.awaitedByteCount / 14)
            }
        }

        @Test("are not waited for where few commands are at the target")
        func few() {
            var moderation = ISCSIModeration()
            moderation.awaitedByteCount = 11 << 20
            #expect(moderation.nextLeastByteCount(11) == 1)
            #expect(moderation.nextLeastByteCount(12) > 1)
        }

        @Test("are not waited for again for a while after they did not come")
        func still() {
            var moderation = ISCSIModeration()
            moderation.awaitedByteCount = 1 << 20
            moderation.hasReceived = true
            #expect(moderation.isStill() == false)
            #expect(moderation.nextLeastByteCount(32) > 1)
            #expect(moderation.isStill() == true)
            let waits = (0..<10000).prefix { _ in moderation.nextLeastByteCount(32) == 1 }.count
            #expect((1000..<10000).contains(waits))
        }

        @Test("an answer that comes alone is taken, whatever else the target keeps back", .timeLimit(.minutes(1)))
        func alone() async throws {
            let held = Locked<[FakeTarget.Request]>([])
            let target = try await FakeTarget { request in
                guard request.command == 0x28 else { return .asUsual }
                return held.withLock { held in
                    func answer(_ request: FakeTarget.Request) -> [UInt8] {
                        FakeTarget.packet(
                            0x25, 0x81, request, [UInt8](repeating: UInt8(request.place), count: request.count * 512))
                    }
                    held.append(request)
                    // All commands have come: the first is answered, then the second, then all others.
                    let places: ClosedRange<Int>? =
                        switch held.count {
                        case 32: 0...0
                        case 33: 1...1
                        case 34: 2...33
                        default: nil
                        }
                    guard let places else { return .silence }
                    return .raw(held.filter { places.contains($0.place) }.flatMap(answer))
                }
            }
            let volume = try await target.open()
            try await withThrowingTaskGroup(of: Int.self) { group in
                func read(_ place: Int) {
                    group.addTask {
                        let bytes = try await volume.bytes(at: UInt64(place) * 512, count: 512)
                        #expect(bytes.allSatisfy { $0 == UInt8(place) })
                        return place
                    }
                }
                for place in 0..<32 { read(place) }
                #expect(try await group.next() == 0)
                read(32)
                #expect(try await group.next() == 1)
                // It had been waited for with others.
                #expect(volume.link.isModerationPaused)
                read(33)
                while try await group.next() != nil {}
            }
            try await volume.close()
        }

        @Test("commands go to the next session when one breaks that keeps all answers back", .timeLimit(.minutes(1)))
        func broken() async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                request.command == 0x28 && counter.next() < 32 ? .silence : .asUsual
            }
            let volume = try await target.open()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for place in UInt64(0)..<32 {
                    group.addTask { _ = try await volume.bytes(at: place * 512, count: 512) }
                }
                while counter.value < 32 { await Task.yield() }
                volume.link.breakSession()
                try await group.waitForAll()
            }
            try await volume.close()
        }
    }
#endif
