#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("A volume whose target answers oddly")
    struct FakeTargetTests {
        @Test("works with the disk that the other tests change")
        func usual() async throws {
            let target = try await FakeTarget { _ in .asUsual }
            let volume = try await target.open()
            #expect(volume.geometry.size == 1 << 20)
            try await volume.fill(3, 512..<4096)
            #expect(try await volume.bytes(at: 512, count: 3584).allSatisfy { $0 == 3 })
            try await volume.flush()
            try await volume.close()
        }

        @Test("logs in where the target sends it, as arrays with one address for many nodes do")
        func redirected() async throws {
            let target = try await TestTarget.start("--chap")
            let portal = target.description.portals[0]
            let front = try await FakeTarget { request in
                guard request.operation == FakeTarget.Request.login else { return .end }
                var answer = FakeTarget.packet(0x23, 0, request, Array("TargetAddress=\(portal),1\0".utf8))
                for index in 20..<24 { answer[index] = 0 }
                (answer[36], answer[37]) = (1, 1)
                return .raw(answer)
            }
            let volume = try await target.open { settings, _ in settings.portals = ["127.0.0.1:\(front.port)"] }
            try await volume.fill(1, 0..<4096)
            try await target.change("kill")
            try await target.change("restart")
            #expect(try await volume.bytes(at: 0, count: 4096).allSatisfy { $0 == 1 })
            try await volume.close()
        }

        @Test(
            "sends a command again that the target puts off",
            arguments: [
                FakeTarget.Reply.status(SCSIStatus.busy), .status(SCSIStatus.taskSetFull),
                .status(SCSIStatus.taskAborted), .status(2, sense: FakeTarget.sense(6, 0x2900)),
                .status(2, sense: FakeTarget.sense(11, 0x4b00)), .status(2, sense: FakeTarget.sense(2, 0x0401)), .end,
            ])
        func putOff(_ reply: FakeTarget.Reply) async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                guard request.command == 0x28 || request.command == 0x2a else { return .asUsual }
                return counter.next() % 3 == 0 ? reply : .asUsual
            }
            let volume = try await target.open()
            for index in UInt8(0)..<20 {
                let start = UInt64(index) * 512
                try await volume.fill(index, start..<start + 512)
                #expect(try await volume.bytes(at: start, count: 512).allSatisfy { $0 == index })
            }
            try await volume.close()
        }

        @Test("takes a new size when the target says that it has changed")
        func capacityChange() async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                guard request.command == 0x28, counter.next() == 0 else { return .asUsual }
                return .status(2, sense: FakeTarget.sense(6, 0x2a09))
            }
            let volume = try await target.open()
            target.resize(blockCount: 1024)
            _ = try await volume.bytes(at: 0, count: 512)
            while volume.geometry.size == 1 << 20 { await Task.yield() }
            #expect(volume.geometry.size == 1 << 19)
            try await volume.close()
        }

        @Test(
            "gives what a target refuses the error of its kind",
            arguments: [
                (FakeTarget.sense(3, 0x1100), StorageError.Code.inputOutput),
                (FakeTarget.sense(5, 0x2100), .outOfRange),
                (FakeTarget.sense(5, 0x2500), .notFound), (FakeTarget.sense(7, 0x2700), .readOnly),
                (FakeTarget.sense(7, 0x2707), .noSpace), (FakeTarget.sense(5, 0x2000), .notSupported),
                ([], .inputOutput), ([0x70], .inputOutput), ([0x72, 0xff, 0xff, 0xff, 0, 0, 0, 0xff], .inputOutput),
            ] as [([UInt8], StorageError.Code)])
        func refused(_ sense: [UInt8], _ code: StorageError.Code) async throws {
            let target = try await FakeTarget { $0.command == 0x2a ? .status(2, sense: sense) : .asUsual }
            let volume = try await target.open()
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error?.code == code, "\(String(describing: error))")
            try await volume.close()
        }

        @Test("says that a write was refused by another's reservation")
        func reservationConflict() async throws {
            let target = try await FakeTarget {
                $0.command == 0x2a ? .status(SCSIStatus.reservationConflict) : .asUsual
            }
            let volume = try await target.open()
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error?.code == .busy, "\(String(describing: error))")
            try await volume.close()
        }

        @Test("is fenced for good by another's reservation where it was alone")
        func conflictIsForGood() async throws {
            let counter = Counter()
            let fake = ReservingTarget()
            let target = try await FakeTarget { request in
                if request.command == 0x2a, counter.next() == 0 { return .status(SCSIStatus.reservationConflict) }
                return fake.reply(request)
            }
            let volume = try await target.open(attachment: .exclusive)
            for _ in 0..<2 {
                let error = await failure { try await volume.fill(1, 0..<512) }
                #expect(error?.code == .fenced, "\(String(describing: error))")
            }
            #expect(counter.next() == 1)
            _ = try? await volume.close()
        }

        @Test(
            "writes nothing to another unit that takes the number while the session lives",
            arguments: [UInt16(0x3f0e), 0x3f03, 0x2900, 0x2903])
        func replacedAlive(_ additional: UInt16) async throws {
            let isReplaced = Locked(false)
            let told = Counter()
            let writes = Counter()
            let target = try await FakeTarget { request in
                guard isReplaced.withLock({ $0 }) else { return .asUsual }
                switch request.command {
                case 0x12? where request.header[34] == 0x83:
                    return .data([0, 0x83, 0, 12, 1, 3, 0, 8] + Array("NAAother".utf8))
                case 0x2a?:
                    if told.next() == 0 { return .status(2, sense: FakeTarget.sense(6, additional)) }
                    _ = writes.next()
                    return .asUsual
                default: return .asUsual
                }
            }
            let volume = try await target.open(deadline: .seconds(30))
            try await volume.fill(1, 0..<512)
            isReplaced.withLock { $0 = true }
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error?.code == .notFound, "\(String(describing: error))")
            #expect(writes.next() == 0)
        }

        @Test("does not know a unit again that states no identity")
        func nameless() async throws {
            let target = try await FakeTarget { request in
                guard request.command == 0x12, request.header[34] == 0x83 else { return .asUsual }
                return .status(2, sense: FakeTarget.sense(5, 0x2400))
            }
            let volume = try await target.open(deadline: .seconds(30))
            try await volume.fill(1, 0..<512)
            volume.link.breakSession()
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error?.code == .notFound, "\(String(describing: error))")
        }

        @Test("takes its own key, left by an earlier attempt, for nobody else's")
        func ownKey() async throws {
            let fake = ReservingTarget()
            let front = try await FakeTarget { request in
                // The reservation is made, and the answer lost.
                if request.command == 0x5f, request.header[33] == 1 {
                    _ = fake.reply(request)
                    return .end
                }
                return fake.reply(request)
            }
            let back = try await FakeTarget { fake.reply($0) }
            let volume = try await front.open(attachment: .exclusive, otherPorts: [back.port])
            try await volume.fill(1, 0..<512)
            try await volume.close()
            #expect(fake.keyCount == 0)
        }

        @Test("is not taken again where keys are kept, and ours is gone", arguments: [true, false])
        func forgottenKeys(_ keepsKeys: Bool) async throws {
            let fake = ReservingTarget(keepsKeys: keepsKeys)
            let target = try await FakeTarget { fake.reply($0) }
            let volume = try await target.open(attachment: .exclusive)
            fake.forget()
            volume.link.breakSession()
            let error = await failure { try await volume.fill(1, 0..<512) }
            #expect(error?.code == (keepsKeys ? .fenced : nil), "\(String(describing: error))")
            _ = try? await volume.close()
        }

        @Test(
            "can be left to open by a task that is cancelled, or late, while it takes the unit", arguments: [5, 6, 0])
        func lateWhileTaking(_ action: Int) async throws {
            let fake = ReservingTarget()
            let target = try await FakeTarget { request in
                let isHeld = request.command == 0x5f && request.header[33] == (action == 5 ? 1 : UInt8(action))
                return isHeld || action == 0 && request.command == 0x5e ? .silence : fake.reply(request)
            }
            let error = await failure {
                _ = try await target.open(deadline: .seconds(1), attempts: 1, attachment: .exclusive)
            }
            #expect(error?.isRetryable == true, "\(String(describing: error))")
        }

        @Test("closes within its deadline when every session is lost that is to give up the key")
        func releaseIsBounded() async throws {
            let fake = ReservingTarget()
            let target = try await FakeTarget { request in
                request.command == 0x5f && request.header[33] == 0 ? .end : fake.reply(request)
            }
            // Once: a second attempt would find the key of one that was late.
            let volume = try await target.open(deadline: .seconds(40), attempts: 1, attachment: .exclusive)
            let error = await failure { try await volume.close() }
            #expect(error?.isRetryable == true, "\(String(describing: error))")
        }

        @Test("leaves a target alone for a while that takes sessions, and no command")
        func leavesAlone() async throws {
            let sessions = Counter()
            let target = try await FakeTarget { request in
                if request.operation == FakeTarget.Request.login { _ = sessions.next() }
                return request.command == 0x28 ? .end : .asUsual
            }
            let volume = try await target.open(deadline: .seconds(4))
            let error = await failure { _ = try await volume.bytes(at: 0, count: 512) }
            #expect(error?.isRetryable == true, "\(String(describing: error))")
            // Two packets for each login, of which there is one each 25 ms at first, and then one each 250 ms.
            #expect(sessions.next() < 100)
        }

        @Test("leaves no key behind when it cannot be opened")
        func cleansUp() async throws {
            let fake = ReservingTarget()
            let counter = Counter()
            let target = try await FakeTarget { request in
                if request.command == 0x5f, request.header[33] == 1, counter.next() == 0 { return .end }
                return fake.reply(request)
            }
            let error = await failure { _ = try await target.open(attachment: .exclusive) }
            #expect(error?.code == .connectionLost, "\(String(describing: error))")
            #expect(fake.keyCount == 0)
        }

        @Test("fails flushes for good after an error that the target tells of late, whatever tells it")
        func deferredError() async throws {
            for (command, format) in [(UInt8(0x28), UInt8(0x71)), (0x2a, 0x71), (0x9e, 0x71)] {
                let counter = Counter()
                let target = try await FakeTarget { request in
                    guard request.command == command else { return .asUsual }
                    let first = command == 0x9e ? 1 : 0
                    guard counter.next() == first else { return .asUsual }
                    var sense = FakeTarget.sense(3, 0x0c00)
                    sense[0] = format
                    return .status(2, sense: sense)
                }
                let volume = try await target.open()
                _ = await failure { try await volume.fill(1, 0..<512) }
                _ = await failure { _ = try await volume.bytes(at: 0, count: 512) }
                _ = await failure { try await volume.rescan() }
                for _ in 0..<2 {
                    let flush = await failure { try await volume.flush() }
                    #expect(flush?.code == .inputOutput, "\(command): \(String(describing: flush))")
                }
                _ = try? await volume.close()
            }
        }

        @Test("takes a command for done whose sense says that an error was overcome")
        func recovered() async throws {
            let target = try await FakeTarget { request in
                request.command == 0x2a ? .status(2, sense: FakeTarget.sense(1, 0x1701)) : .asUsual
            }
            let volume = try await target.open()
            try await volume.fill(1, 0..<512)
            try await volume.close()
        }

        @Test("sends nothing again to a unit that was not reset when it was to be", arguments: [UInt8(1), 2, 5, 255])
        func resetRefused(_ response: UInt8) async throws {
            let counter = Counter()
            let resets = Locked(0)
            let target = try await FakeTarget { request in
                if request.operation == 0x02 {
                    resets.withLock { $0 += 1 }
                    var answer = FakeTarget.packet(0x22, 0x80, request, [])
                    answer[2] = response
                    return .raw(answer)
                }
                guard request.command == 0x2a, counter.next() == 0 else { return .asUsual }
                return .end
            }
            let volume = try await target.open(deadline: .seconds(response == 5 ? 60 : 30))
            let error = await failure { try await volume.fill(1, 0..<512) }
            // With the session its commands end where it is succeeded at the same portal.
            #expect((error == nil) == (response == 5), "\(String(describing: error))")
            #expect(resets.withLock { $0 } > 0)
        }

        @Test("waits as long as anybody asks")
        func longDeadline() async throws {
            let target = try await FakeTarget { _ in .asUsual }
            let volume = try await target.open(deadline: .seconds(1 << 60))
            try await volume.fill(1, 0..<512)
            try await volume.close()
        }

        @Test("is not opened on a target that skips to prove itself", arguments: [UInt8(0x87), 0x83, 0x81])
        func skipsProof(_ flags: UInt8) async throws {
            let target = try await FakeTarget { request in
                guard request.operation == FakeTarget.Request.login else { return .asUsual }
                var answer = FakeTarget.loginAnswer(request)
                if request.header[1] & 0x0c == 0 { answer[1] = flags }
                return .raw(answer)
            }
            let error = await failure { _ = try await target.open(isMutual: true) }
            #expect(error?.code == .authenticationFailed, "\(String(describing: error))")
        }

        @Test("is not opened on a target that takes data in pieces of nothing", arguments: ["0", "511", "x"])
        func noPieces(_ length: String) async throws {
            let target = try await FakeTarget { request in
                guard request.operation == FakeTarget.Request.login else { return .asUsual }
                var answer = FakeTarget.packet(
                    0x23, request.header[1], request, Array("MaxRecvDataSegmentLength=\(length)\0".utf8))
                for index in 8..<14 { answer[index] = request.header[index] }
                (answer[3], answer[15]) = (0, 1)
                for index in 20..<24 { answer[index] = 0 }
                return .raw(answer)
            }
            let error = await failure { _ = try await target.open() }
            #expect(error?.code == .connectionLost, "\(String(describing: error))")
        }

        @Test(
            "survives data, and requests for data, that name what is no command", arguments: [UInt8(0x25), 0x31, 0x21])
        func wrongAnswers(_ operation: UInt8) async throws {
            // A login, a logout, a reset and a list of targets.
            for asked in [UInt8(0x03), 0x06, 0x02, 0x04] {
                let counter = Counter()
                let target = try await FakeTarget { request in
                    if request.operation == asked {
                        return .raw(FakeTarget.packet(operation, 0x81, request, [1, 2, 3, 4]))
                    }
                    // So that there is a reset.
                    if asked == 0x02, request.command == 0x2a, counter.next() == 0 { return .end }
                    return .asUsual
                }
                _ = await failure {
                    if asked == 0x04 { return _ = try await target.settings().discover(deadline: .seconds(2)) }
                    let volume = try await target.open(deadline: .seconds(2), attempts: 1)
                    _ = try? await volume.fill(1, 0..<512)
                    try await volume.close()
                }
            }
        }

        @Test("takes no data for a command that has none")
        func dataForNothing() async throws {
            let target = try await FakeTarget { request in
                guard request.command == 0x2a || request.command == 0x35 else { return .asUsual }
                return .raw(FakeTarget.packet(0x25, 0x81, request, [UInt8](repeating: 1, count: 4096)))
            }
            let volume = try await target.open(deadline: .seconds(30))
            async let write = failure { try await volume.fill(1, 0..<512) }
            async let flush = failure { try await volume.flush() }
            for error in await [write, flush] { #expect(error != nil) }
        }

        @Test("takes no size from an answer that is short, or counts in other blocks")
        func shortCapacity() async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                guard request.command == 0x9e else { return .asUsual }
                switch counter.next() {
                case 0: return .asUsual
                case 1: return .data([0, 0, 0, 0, 0, 0, 0, 1])
                default:
                    var answer = [UInt8](repeating: 0, count: 32)
                    (answer[7], answer[10]) = (9, 0x10)
                    return .data(answer)
                }
            }
            let volume = try await target.open()
            for _ in 0..<2 {
                _ = await failure { try await volume.rescan() }
                #expect(volume.geometry.size == 1 << 20)
            }
            try await volume.close()
        }

        @Test("fails every flush after one that failed")
        func failedFlush() async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                guard request.command == 0x35, counter.next() == 0 else { return .asUsual }
                return .status(2, sense: FakeTarget.sense(3, 0x0c00))
            }
            let volume = try await target.open()
            for _ in 0..<3 {
                let error = await failure { try await volume.flush() }
                #expect(error?.code == .inputOutput)
            }
            let close = await failure { try await volume.close() }
            #expect(close?.code == .inputOutput)
        }

        @Test("fails every flush after one that was at the target, and got no answer")
        func unansweredFlush() async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                request.command == 0x35 && counter.next() == 0 ? .silence : .asUsual
            }
            let volume = try await target.open(deadline: .seconds(30))
            for _ in 0..<3 {
                let error = await failure { try await volume.flush() }
                #expect(error?.isRetryable == true, "\(String(describing: error))")
            }
            // Whatever it says of that.
            #expect(counter.next() == 1)
            _ = try? await volume.close()
        }

        @Test("sends a flush again whose connection was lost")
        func lostFlush() async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                request.command == 0x35 && counter.next() < 3 ? .end : .asUsual
            }
            let volume = try await target.open()
            try await volume.fill(1, 0..<512)
            try await volume.flush()
            try await volume.close()
        }

        @Test(
            "gives a target no more data than a write has, whatever it asks for",
            arguments: [
                (0, .max), (0, 1024), (512, 1), (.max, 1), (0, 0), (256, 257),
            ] as [(UInt32, UInt32)])
        func asksForTooMuch(_ offset: UInt32, _ count: UInt32) async throws {
            let counter = Counter()
            let logins = Counter()
            let target = try await FakeTarget { request in
                if request.operation == FakeTarget.Request.login { _ = logins.next() }
                guard request.command == 0x2a, counter.next() == 0 else { return .asUsual }
                var packet = FakeTarget.packet(0x31, 0x80, request, [])
                packet.replaceSubrange(20..<24, with: [0, 0, 0, 1])
                for index in 0..<4 {
                    packet[40 + index] = UInt8(truncatingIfNeeded: offset >> (24 - 8 * index))
                    packet[44 + index] = UInt8(truncatingIfNeeded: count >> (24 - 8 * index))
                }
                return .raw(packet)
            }
            let volume = try await target.open()
            try await volume.fill(1, 0..<512)
            // The session that it did so in is not used any more.
            #expect(logins.next() == 2)
            try await volume.close()
        }

        @Test("leaves a target that pings without end, and reads no answer")
        func pings() async throws {
            let nothing = FakeTarget.Request(header: [UInt8](repeating: 0, count: 48), data: [])
            var flood = FakeTarget.packet(0x20, 0x80, nothing, [])
            flood.replaceSubrange(16..<24, with: [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1])
            // More than all buffers on the way hold.
            while flood.count < 16 << 20 { flood += flood }
            let all = flood
            let counter = Counter()
            let logins = Counter()
            let target = try await FakeTarget { request in
                if request.operation == FakeTarget.Request.login { _ = logins.next() }
                return request.command == 0x28 && counter.next() == 0 ? .raw(all) : .asUsual
            }
            let volume = try await target.open()
            _ = try await volume.bytes(at: 0, count: 512)
            #expect(logins.next() == 2)
            try await volume.close()
        }

        @Test("answers a target's pings, also while it waits for something else")
        func answersPings() async throws {
            let counter = Counter()
            let answers = Counter()
            let target = try await FakeTarget { request in
                // The answer to a ping.
                if request.operation == 0x00 { _ = answers.next() }
                var ping = FakeTarget.packet(0x20, 0x80, request, [])
                ping.replaceSubrange(16..<24, with: [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1])
                switch (request.operation, request.command) {
                case (0x02, _): return .raw(ping + FakeTarget.packet(0x22, 0x80, request, []))
                case (0x01, 0x28):
                    return .raw(ping + FakeTarget.packet(0x25, 0x81, request, [UInt8](repeating: 7, count: 512)))
                // So that there is a reset.
                case (0x01, 0x2a) where counter.next() == 0: return .end
                case (0x00, _): return .silence
                default: return .asUsual
                }
            }
            let volume = try await target.open()
            try await volume.fill(1, 0..<512)
            for _ in 0..<4 { #expect(try await volume.bytes(at: 0, count: 512).allSatisfy { $0 == 7 }) }
            try await volume.close()
            #expect(answers.next() >= 3)
        }

        @Test("takes no read for done that is short, though the target does not say so", arguments: [0, 4, 256, 508])
        func shortRead(_ count: Int) async throws {
            let target = try await FakeTarget { request in
                guard request.command == 0x28 else { return .asUsual }
                if count == 0 { return .status(0) }
                return .raw(FakeTarget.packet(0x25, 0x81, request, [UInt8](repeating: 7, count: count)))
            }
            let volume = try await target.open()
            let error = await failure { _ = try await volume.bytes(at: 0, count: 512) }
            #expect(error?.code == .inputOutput, "\(String(describing: error))")
            #expect(error?.why.contains("\(512 - count) bytes") == true, "\(String(describing: error))")
            try await volume.close()
        }

        @Test("asks a unit more and more rarely that always has something to say", arguments: [UInt8(0x2a), 0x35])
        func endlessAttention(_ command: UInt8) async throws {
            let counter = Counter()
            let target = try await FakeTarget { request in
                guard request.command == command else { return .asUsual }
                _ = counter.next()
                return .status(2, sense: FakeTarget.sense(6, 0x2a01))
            }
            let volume = try await target.open(deadline: .seconds(10))
            let error = await failure {
                try await volume.fill(1, 0..<512)
                try await volume.flush()
            }
            #expect(error != nil)
            // A few times at once, and then each 20 ms.
            #expect(counter.next() < 600)
            _ = try? await volume.close()
        }

        @Test("takes packets that come in pieces of any size", arguments: [1, 7, 47, 49])
        func pieces(_ byteCount: Int) async throws {
            let target = try await FakeTarget(pieceByteCount: byteCount) { _ in .asUsual }
            let volume = try await target.open()
            try await volume.fill(3, 0..<1024)
            #expect(try await volume.bytes(at: 0, count: 1024).allSatisfy { $0 == 3 })
            try await volume.close()
        }

        @Test("has a target that refuses a later session told what it has forgotten, until that succeeds")
        func willReconnect() async throws {
            let counter = Counter()
            let isForgotten = Locked(false)
            let target = try await FakeTarget { request in
                guard request.operation == FakeTarget.Request.login, isForgotten.withLock({ $0 }) else {
                    return .asUsual
                }
                var answer = FakeTarget.loginAnswer(request)
                // There is no such target.
                (answer[36], answer[37]) = (2, 3)
                return .raw(answer)
            }
            var options = ISCSIVolume.Options()
            options.deadline = .seconds(60)
            options.willReconnect = { () throws(StorageError) in
                if counter.next() < 2 { throw StorageError(.connectionLost, "prepare") }
                isForgotten.withLock { $0 = false }
            }
            let volume = try await ISCSIVolume.open(target.settings(), lun: 0, options: options)
            try await volume.fill(1, 0..<512)
            // Whoever manages the target is not needed where it lets us in.
            volume.link.breakSession()
            try await volume.fill(1, 0..<512)
            #expect(counter.value == 0)
            isForgotten.withLock { $0 = true }
            volume.link.breakSession()
            try await volume.fill(1, 0..<512)
            #expect(counter.value == 3)
            #expect(volume.isOpen)
            try await volume.close()
            #expect(!volume.isOpen)
        }

        @Test("logs in again to a target that lets it in at last, although nobody can tell that target anything")
        func refusedForAWhile() async throws {
            let refusals = Counter()
            let isRefusing = Locked(false)
            let target = try await FakeTarget { request in
                guard request.operation == FakeTarget.Request.login, isRefusing.withLock({ $0 }),
                    refusals.next() < 3
                else { return .asUsual }
                var answer = FakeTarget.loginAnswer(request)
                (answer[36], answer[37]) = (2, 3)
                return .raw(answer)
            }
            var options = ISCSIVolume.Options()
            options.deadline = .seconds(60)
            options.willReconnect = { () throws(StorageError) in throw StorageError(.authenticationFailed, "prepare") }
            let volume = try await ISCSIVolume.open(target.settings(), lun: 0, options: options)
            isRefusing.withLock { $0 = true }
            volume.link.breakSession()
            try await volume.fill(1, 0..<512)
            #expect(refusals.value >= 3)
            try await volume.close()
        }

        @Test("goes by the portal that lets it in, although another refuses and nobody can tell the target anything")
        func refusedByOne() async throws {
            let front = try await FakeTarget { _ in .asUsual }
            let back = try await FakeTarget { request in
                var answer = FakeTarget.loginAnswer(request)
                (answer[36], answer[37]) = (2, 3)
                return request.operation == FakeTarget.Request.login ? .raw(answer) : .asUsual
            }
            var options = ISCSIVolume.Options()
            options.deadline = .seconds(60)
            options.willReconnect = { () throws(StorageError) in throw StorageError(.connectionLost, "prepare") }
            let volume = try await ISCSIVolume.open(
                front.settings(otherPorts: [back.port]), lun: 0, options: options)
            for _ in 0..<3 {
                volume.link.breakSession()
                try await volume.fill(1, 0..<512)
            }
            try await volume.close()
        }

        @Test("tries the next portal first after a session was lost")
        func portalsInTurn() async throws {
            let logins = Locked<[Int]>([])
            func portal(_ number: Int) async throws(SystemError) -> FakeTarget {
                try await FakeTarget { request in
                    // The second part of a login, which only those have who take it to its end.
                    if request.operation == FakeTarget.Request.login, request.header[1] & 0x0c != 0 {
                        logins.withLock { $0.append(number) }
                    }
                    return .asUsual
                }
            }
            let (front, back) = (try await portal(0), try await portal(1))
            let volume = try await front.open(otherPorts: [back.port])
            for _ in 0..<3 {
                try await volume.fill(1, 0..<512)
                volume.link.breakSession()
            }
            try await volume.fill(1, 0..<512)
            #expect(logins.withLock { $0 } == [0, 1, 0, 1])
            try await volume.close()
        }

        /// What a hostile target does instead of an answer.
        enum Attack: String, CaseIterable {
            case endsInLogin, garbageInLogin, oversizedLogin, loginWithoutEnd, redirectsForEver
            case truncated, oversized, extended, tooMuch, elsewhere, unknownTag, wrongKind, asksForDataOfRead, endless
            case noBlockSize, endlessBlocks, endlessUnits, alwaysAttention

            /// The reply to a request, the packets after a login being those that carry `command`.
            func reply(_ request: FakeTarget.Request) -> FakeTarget.Reply {
                if request.operation == FakeTarget.Request.login {
                    var answer = FakeTarget.loginAnswer(request)
                    switch self {
                    case .endsInLogin: return .end
                    case .garbageInLogin: return .raw((0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31) })
                    case .oversizedLogin:
                        answer.replaceSubrange(5..<8, with: [0xff, 0xff, 0xff])
                        return .raw(answer + [UInt8](repeating: 0x41, count: 1 << 20))
                    case .loginWithoutEnd:
                        return .raw(
                            FakeTarget.packet(0x23, request.header[1], request, [UInt8](repeating: 0x41, count: 9000)))
                    case .redirectsForEver:
                        return .raw(
                            FakeTarget.packet(0x23, 0, request, Array("TargetAddress=127.0.0.1:1\0".utf8), code: 0)
                                .enumerated().map { $0.offset == 36 || $0.offset == 37 ? 1 : $0.element })
                    default: return .asUsual
                    }
                }
                switch (self, request.command) {
                case (.noBlockSize, 0x9e): return .data([UInt8](repeating: 0, count: 32))
                case (.endlessBlocks, 0x9e): return .data([UInt8](repeating: 0xff, count: 32))
                case (.endlessUnits, 0xa0):
                    return .data([0xff, 0xff, 0xff, 0xf8] + [UInt8](repeating: 0xff, count: 16380))
                case (.alwaysAttention, 0x28): return .status(2, sense: FakeTarget.sense(6, 0x2900))
                case (_, 0x28): break
                default: return .asUsual
                }
                let block = [UInt8](repeating: 0x41, count: 512)
                var packet = FakeTarget.packet(0x25, 0x81, request, block)
                switch self {
                case .truncated: return .raw(Array(packet.prefix(100)))
                case .oversized: packet.replaceSubrange(5..<8, with: [0xff, 0xff, 0xff])
                case .extended: packet[4] = 0xff
                case .tooMuch: packet = FakeTarget.packet(0x25, 0x81, request, block + block)
                case .elsewhere: packet.replaceSubrange(40..<44, with: [0xff, 0xff, 0xfe, 0x00])
                case .unknownTag: packet.replaceSubrange(16..<20, with: [9, 9, 9, 9])
                case .wrongKind: packet[0] = 0x26
                case .asksForDataOfRead:
                    packet = FakeTarget.packet(0x31, 0x80, request, [])
                    packet.replaceSubrange(40..<48, with: [0, 0, 0, 0, 0, 0, 2, 0])
                case .endless:
                    packet = FakeTarget.packet(0x25, 0, request, block)
                    return .raw(Array(repeatElement(packet, count: 4000).joined()))
                default: return .asUsual
                }
                return .raw(packet)
            }
        }

        @Test("gives a typed error in time, and bounded memory, to a hostile target", arguments: Attack.allCases)
        func hostile(_ attack: Attack) async throws {
            let target = try await FakeTarget { attack.reply($0) }
            let error = await failure {
                let volume = try await target.open(deadline: .seconds(1), attempts: 1)
                let read = await failure { _ = try await volume.bytes(at: 0, count: 512) }
                _ = try? await volume.close()
                if let read { throw read }
            }
            let expected: [StorageError.Code] = [
                .connectionLost, .timedOut, .inputOutput, .notFound, .authenticationFailed,
            ]
            #expect(error.map { expected.contains($0.code) } == true, "\(String(describing: error))")
            let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.split(separator: " ").dropFirst()
                .first
            // In KiB, of all tests together.
            #expect(peak.flatMap { Int($0) }.map { $0 < 512 << 10 } == true, "\(String(describing: peak))")
        }
    }
#endif
