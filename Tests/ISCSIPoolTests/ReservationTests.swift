#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("The exclusive use of a volume on an iSCSI target")
    struct ReservationTests {
        private func open(
            _ target: TestTarget, _ initiator: String, _ attachment: ISCSIVolume.Attachment
        ) async throws -> ISCSIVolume {
            try await target.open { settings, options in
                settings.initiatorName = "iqn.1993-08.org.debian:01:\(initiator)"
                options.attachment = attachment
                options.deadline = .seconds(60)
            }
        }

        @Test("is refused to the second host, with the name of the first, until the first gives it up")
        func names() async throws {
            let target = try await TestTarget.start()
            let first = try await open(target, "host-one", .exclusive)
            try await first.fill(1, 0..<4096)
            let busy = await failure { _ = try await open(target, "host-two", .exclusive) }
            #expect(busy?.code == .busy && busy?.why.contains("ost-one") == true, "\(String(describing: busy))")
            // Others may read, and may not write.
            let reader = try await open(target, "host-two", .shared)
            #expect(try await reader.bytes(at: 0, count: 4096).allSatisfy { $0 == 1 })
            let write = await failure { try await reader.fill(2, 0..<4096) }
            #expect(write?.code == .busy, "\(String(describing: write))")
            #expect(try await reader.reservationHolder() == "ost-one")
            // It cannot flush either.
            _ = try? await reader.close()
            try await first.close()
            let second = try await open(target, "host-two", .exclusive)
            try await second.fill(2, 0..<4096)
            try await second.close()
        }

        @Test("is taken from its holder, whose writes are then fenced")
        func preempts() async throws {
            let target = try await TestTarget.start()
            let first = try await open(target, "host-one", .exclusive)
            try await first.fill(1, 0..<4096)
            let second = try await open(target, "host-two", .preempting)
            let fenced = await failure { try await first.fill(3, 0..<4096) }
            #expect(fenced?.code == .fenced, "\(String(describing: fenced))")
            try await second.fill(2, 0..<4096)
            #expect(try await second.bytes(at: 0, count: 4096).allSatisfy { $0 == 2 })
            // Its release takes nothing from the new holder.
            _ = try? await first.close()
            let third = await failure { _ = try await open(target, "host-three", .exclusive) }
            #expect(third?.code == .busy && third?.why.contains("ost-two") == true, "\(String(describing: third))")
            try await second.close()
        }

        @Test("survives lost sessions and restarts of the target, unless somebody had it meanwhile")
        func survives() async throws {
            let target = try await TestTarget.start()
            let volume = try await open(target, "host-one", .exclusive)
            for round in UInt8(1)...3 {
                try await volume.fill(round, 0..<4096)
                try await target.change("kill")
                try await target.change("restart")
                try await volume.fill(round + 1, 0..<4096)
                let busy = await failure { _ = try await open(target, "host-two", .exclusive) }
                #expect(busy?.code == .busy, "\(String(describing: busy))")
            }
            // A session that only breaks leaves its key behind at some targets.
            for _ in 0..<3 {
                volume.link.breakSession()
                try await volume.fill(9, 0..<4096)
            }
            try await volume.close()
            let next = try await open(target, "host-two", .exclusive)
            try await next.close()
        }

        @Test("is not taken again by a host that was away while another had it")
        func isFenced() async throws {
            let target = try await TestTarget.start()
            let first = try await open(target, "host-one", .exclusive)
            let second = try await open(target, "host-two", .preempting)
            try await second.fill(2, 0..<4096)
            try await second.close()
            first.link.breakSession()
            let fenced = await failure { try await first.fill(1, 0..<4096) }
            #expect(fenced?.code == .fenced, "\(String(describing: fenced))")
            _ = try? await first.close()
        }

        @Test("is not used again through a session that lives on, either")
        func isFencedInItsSession() async throws {
            let target = try await TestTarget.start()
            let first = try await open(target, "host-one", .exclusive)
            let second = try await open(target, "host-two", .preempting)
            try await second.fill(2, 0..<4096)
            try await second.close()
            for _ in 0..<3 {
                let fenced = await failure { try await first.fill(1, 0..<4096) }
                #expect(fenced?.code == .fenced, "\(String(describing: fenced))")
            }
            let reader = try await open(target, "host-three", .shared)
            #expect(try await reader.bytes(at: 0, count: 4096).allSatisfy { $0 == 2 })
            try await reader.close()
            _ = try? await first.close()
        }

        @Test("goes to at most one of many that want it at once")
        func race() async throws {
            let target = try await TestTarget.start()
            for _ in 0..<5 {
                let winners = await withTaskGroup(of: ISCSIVolume?.self) { group in
                    for number in 0..<6 {
                        group.addTask { try? await open(target, "racer\(number)", .exclusive) }
                    }
                    var winners: [ISCSIVolume] = []
                    for await volume in group { if let volume { winners.append(volume) } }
                    return winners
                }
                #expect(winners.count <= 1)
                for winner in winners { try await winner.close() }
            }
            let last = try await open(target, "last", .exclusive)
            try await last.close()
        }

        @Test("keys say whose they are")
        func keys() {
            let key = SCSIReservationKey(initiator: "iqn.1993-08.org.debian:01:a1B2c3d", nonce: 0xbeef)
            #expect(key.initiator == "a1b2c3d")
            #expect(SCSIReservationKey(key.number) == key && key.number & 0xffff == 0xbeef)
            #expect(SCSIReservationKey(initiator: "é", nonce: 1).initiator == "")
            #expect(SCSIReservationKey(0x1234).initiator == nil)
            #expect("\(SCSIReservationKey(0x1234))" == "reservation key 0x1234")
        }
    }
#endif
