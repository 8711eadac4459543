#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("An initiator that believes nothing")
    struct InitiatorTests {
        private static func number(_ request: FakeTarget.Request, _ offset: Int) -> UInt32 {
            request.header[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }

        private static func put(_ value: UInt32, _ offset: Int, _ packet: inout [UInt8]) {
            for index in 0..<4 { packet[offset + index] = UInt8(truncatingIfNeeded: value >> (24 - 8 * index)) }
        }

        @Test("sends all parts of a login with one tag, which Linux targets demand")
        func loginTag() async throws {
            let tags = Locked<[UInt32]>([])
            let target = try await FakeTarget { request in
                if request.operation == 0x03 { tags.withLock { $0.append(Self.number(request, 16)) } }
                return .asUsual
            }
            var settings = target.settings()
            settings.credentials = .init(user: "u", secret: Secret("a-secret-of-12"))
            var options = ISCSIVolume.Options()
            options.deadline = .seconds(60)
            let volume = try await ISCSIVolume.open(settings, lun: 0, options: options)
            try await volume.close()
            let seen = tags.withLock { $0 }
            #expect(seen.count > 1 && Set(seen).count == 1, "\(seen)")
        }

        @Test("asks for the rest of a long list of targets with the tag of its beginning")
        func textTag() async throws {
            let tags = Locked<[UInt32]>([])
            let target = try await FakeTarget { request in
                guard request.operation == 0x04 else { return .asUsual }
                let isFirst = tags.withLock { tags in
                    tags.append(Self.number(request, 16))
                    return tags.count == 1
                }
                var answer = FakeTarget.packet(
                    0x24, isFirst ? 0 : 0x80, request, Array("TargetName=iqn.x:\(isFirst)\0".utf8))
                if isFirst { Self.put(1, 20, &answer) }
                return .raw(answer)
            }
            let found = try await target.settings().discover(deadline: .seconds(20))
            #expect(found.count == 2)
            let seen = tags.withLock { $0 }
            #expect(seen.count == 2 && Set(seen).count == 1, "\(seen)")
        }

        @Test("follows the numbers of a target wherever they begin")
        func statusNumber() async throws {
            let seen = Locked<[UInt32]>([])
            let target = try await FakeTarget { request in
                if request.operation == 0x03 {
                    var answer = FakeTarget.loginAnswer(request)
                    Self.put(0x9000_0000, 24, &answer)
                    return .raw(answer)
                }
                seen.withLock { $0.append(Self.number(request, 28)) }
                return .asUsual
            }
            let volume = try await target.open()
            try await volume.close()
            #expect(seen.withLock { $0.first } == 0x9000_0001, "\(seen.withLock { $0 })")
        }

        @Test("resets a unit that says that its commands have ended, since later ones have not")
        func liveCommandAfterAttention() async throws {
            let first = Locked<FakeTarget.Request?>(nil)
            let writes = Counter()
            let resets = Counter()
            let target = try await FakeTarget { request in
                if request.operation == 0x02 { _ = resets.next() }
                guard request.command == 0x2a else { return .asUsual }
                switch writes.next() {
                case 0:
                    first.withLock { $0 = request }
                    return .silence
                case 1:
                    guard let earlier = first.withLock({ $0 }) else { return .end }
                    return .raw(
                        FakeTarget.packet(0x21, 0x80, earlier, [0, 18] + FakeTarget.sense(6, 0x2900), code: 2))
                default: return .asUsual
                }
            }
            let volume = try await target.open()
            async let a: Void = volume.fill(1, 0..<512)
            async let b: Void = volume.fill(2, 1024..<1536)
            _ = try await (a, b)
            #expect(resets.value == 1)
            try await volume.close()
        }

        @Test("leaves a session whose target takes no more commands")
        func closedWindow() async throws {
            let reads = Counter()
            let logins = Counter()
            let target = try await FakeTarget { request in
                if request.operation == 0x03 { _ = logins.next() }
                guard request.command == 0x28 else { return .asUsual }
                let turn = reads.next()
                guard turn < 2 else { return .asUsual }
                var answer = FakeTarget.packet(0x25, 0x81, request, [UInt8](repeating: 7, count: 512))
                let jump: UInt32 = turn == 0 ? 0x7fff_ff00 : 0xbfff_ff00
                Self.put(Self.number(request, 24) &+ jump, 32, &answer)
                return .raw(answer)
            }
            let volume = try await target.open(deadline: .seconds(3))
            for turn in 0..<5 {
                let error = await failure { _ = try await volume.bytes(at: 0, count: 512) }
                if turn == 4 { #expect(error == nil && (2...6).contains(logins.value)) }
            }
            _ = try? await volume.close()
        }

        @Test("takes no write for done whose data was not asked for")
        func writeNotAskedFor() async throws {
            let target = try await FakeTarget { $0.command == 0x2a ? .status(0) : .asUsual }
            let volume = try await target.open()
            let error = await failure { try await volume.fill(1, 0..<(256 << 10)) }
            #expect(error != nil)
            _ = try? await volume.close()
        }

        @Test(
            "takes no command for done whose sense says nothing",
            arguments: [
                [UInt8](repeating: 0, count: 18), [0x70, 0, 0], [0x70] + [UInt8](repeating: 0, count: 17),
                [0x00, 0x00, 0x01, 0, 0, 0],
            ])
        func senseOfNothing(_ sense: [UInt8]) async throws {
            let target = try await FakeTarget { $0.command == 0x2a ? .status(2, sense: sense) : .asUsual }
            let volume = try await target.open()
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error != nil)
            _ = try? await volume.close()
        }

        @Test("refuses one secret for both directions")
        func sameSecrets() async throws {
            var target = ISCSITarget(portals: ["127.0.0.1:1"], name: "iqn.x:y", initiatorName: "iqn.x:z")
            target.credentials = .init(user: "a", secret: Secret("the-same-secret"))
            target.targetCredentials = .init(user: "b", secret: Secret("the-same-secret"))
            let settings = target
            let error = await failure { _ = try await ISCSIVolume.open(settings, lun: 1) }
            #expect(error?.code == .invalidArgument, "\(String(describing: error))")
        }

        @Test("asks for targets without asking for a proof")
        func discoveryProof() async throws {
            let target = try await FakeTarget { request in
                guard request.operation == 0x04 else { return .asUsual }
                return .raw(FakeTarget.packet(0x24, 0x80, request, Array("TargetName=iqn.x:y\0".utf8)))
            }
            let error = await failure {
                let found = try await target.settings(isMutual: true).discover(deadline: .seconds(20))
                #expect(found.count == 1)
            }
            #expect(error == nil, "\(String(describing: error))")
        }

        @Test("answers a ping about the unit that it names")
        func pingUnit() async throws {
            let units = Locked<[UInt8]>([])
            let target = try await FakeTarget { request in
                if request.operation == 0x00 {
                    units.withLock { $0.append(request.header[9]) }
                    return .silence
                }
                guard request.command == 0x28 else { return .asUsual }
                var ping = FakeTarget.packet(0x20, 0x80, request, [])
                ping.replaceSubrange(16..<24, with: [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1])
                ping[9] = 5
                return .raw(ping + FakeTarget.packet(0x25, 0x81, request, [UInt8](repeating: 7, count: 512)))
            }
            let volume = try await target.open()
            for _ in 0..<3 { _ = try await volume.bytes(at: 0, count: 512) }
            while units.withLock({ $0.isEmpty }) { await Task.yield() }
            try await volume.close()
            #expect(units.withLock { $0.first } == 5, "\(units.withLock { $0 })")
        }

        @Test("goes to the next portal after one that left a command unanswered")
        func failover() async throws {
            let sick = try await FakeTarget { $0.command == 0x2a || $0.command == 0x28 ? .silence : .asUsual }
            let healthy = try await FakeTarget { _ in .asUsual }
            let volume = try await sick.open(deadline: .seconds(15), otherPorts: [healthy.port])
            let late = await failure { try await volume.fill(1, 0..<512) }
            #expect(late?.code == .timedOut, "\(String(describing: late))")
            for _ in 0..<2 { try await volume.fill(1, 0..<512) }
            _ = try? await volume.close()
        }

        @Test("takes no read for done that ended with another status")
        func dataWithBadStatus() async throws {
            let target = try await FakeTarget { request in
                request.command == 0x28 ? .raw(FakeTarget.packet(0x25, 0x81, request, [], code: 2)) : .asUsual
            }
            let volume = try await target.open()
            let error = await failure { _ = try await volume.bytes(at: 0, count: 512) }
            #expect(error != nil)
            try await volume.close()
        }

        @Test("leaves a target that asks for more data before it has what it asked for")
        func crumbs() async throws {
            let writes = Counter()
            let logins = Counter()
            let target = try await FakeTarget { request in
                if request.operation == 0x03 { _ = logins.next() }
                guard request.command == 0x2a, writes.next() == 0 else { return .asUsual }
                var flood: [UInt8] = []
                flood.reserveCapacity(100_000 * 48)
                for index in 0..<UInt32(100_000) {
                    var packet = FakeTarget.packet(0x31, 0x80, request, [])
                    Self.put(index, 20, &packet)
                    Self.put(index, 36, &packet)
                    Self.put(65536 + index, 40, &packet)
                    Self.put(1, 44, &packet)
                    flood += packet
                }
                return .raw(flood)
            }
            let volume = try await target.open(deadline: .seconds(20))
            // The disk asks for nothing, so that it does not take the write.
            _ = await failure { try await volume.fill(1, 0..<(1 << 20)) }
            #expect(logins.value == 2)
            _ = try? await volume.close()
        }

        @Test("knows a unit again by another port of its target")
        func otherPort() async throws {
            @Sendable func page(_ port: UInt8) -> [UInt8] {
                [0, 0x83, 0, 20, 1, 3, 0, 8] + Array("NAAsluic".utf8) + [0x51, 0x94, 0, 4, 0, 0, 0, port]
            }
            let isDead = Locked(false)
            let front = try await FakeTarget { request in
                if isDead.withLock({ $0 }) { return .end }
                guard request.command == 0x12, request.header[34] == 0x83 else { return .asUsual }
                return .data(page(1))
            }
            let back = try await FakeTarget { request in
                guard request.command == 0x12, request.header[34] == 0x83 else { return .asUsual }
                return .data(page(2))
            }
            let volume = try await front.open(deadline: .seconds(30), otherPorts: [back.port])
            try await volume.fill(1, 0..<512)
            isDead.withLock { $0 = true }
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error == nil, "\(String(describing: error))")
            _ = try? await volume.close()
        }

        @Test("takes no comparison for done whose data was left out")
        func compareLeftOut() async throws {
            let target = try await FakeTarget { request in
                guard request.command == 0x89 else { return .asUsual }
                var answer = FakeTarget.packet(0x21, 0x82, request, [])
                Self.put(1024, 44, &answer)
                return .raw(answer)
            }
            let volume = try await target.open()
            let (old, new) = ([UInt8](repeating: 0, count: 512), [UInt8](repeating: 1, count: 512))
            let isDone = try? await volume.compareAndWrite(old.rawBytes, new.rawBytes, at: 0)
            #expect(isDone != true)
            try await volume.close()
        }
    }
#endif
