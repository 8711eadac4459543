#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("A volume on an iSCSI target")
    struct VolumeTests {
        @Test("reads what was written, of any size, by one piece of memory or many")
        func readsWhatWasWritten() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open()
            #expect(volume.geometry.size == 64 << 20)
            #expect(volume.geometry.blockSize == 512)
            #expect(volume.stack == "iscsi:/\(target.description.iqn)/1")
            var generator = SeededGenerator(seed: 7)
            var model = [UInt8](repeating: 0, count: 8 << 20)
            for _ in 0..<60 {
                let count = Int.random(in: 1...(Bool.random(using: &generator) ? 5000 : 40), using: &generator) * 512
                let offset = Int.random(in: 0...(model.count - count) / 512, using: &generator) * 512
                let bytes = [UInt8](repeating: .random(in: 0...255, using: &generator), count: count)
                let options: WriteOptions = Bool.random(using: &generator) ? .forceUnitAccess : []
                try await volume.write(bytes.rawBytes, at: UInt64(offset), options: options)
                model.replaceSubrange(offset..<offset + count, with: bytes)
            }
            try await volume.flush()
            #expect(try await volume.bytes(at: 0, count: model.count) == model)
            try await volume.close()

            let reopened = try await target.open()
            #expect(try await reopened.bytes(at: 0, count: model.count) == model)
            try await reopened.close()
        }

        @Test("gathers and scatters segments, whether they follow each other or not, and however large")
        func vectors() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open()
            var generator = SeededGenerator(seed: 11)
            var model = [UInt8](repeating: 0, count: 6 << 20)
            let memory = IOBuffer(byteCount: 8 << 20)
            for round in 0..<4 {
                var vector = IOVector()
                var position = Int.random(in: 0..<2048, using: &generator) * 512
                var used = 0
                for index in 0..<IOVector.capacity {
                    let blocks = Int.random(in: 1...(index == 3 ? 5000 : 200), using: &generator)
                    let part = IOSegment(
                        pinning: memory.bytes.extracting(used..<used + blocks * 512), at: UInt64(position))
                    let byte = UInt8(truncatingIfNeeded: round * 16 + index + 1)
                    vector.append(part)
                    part.copy(from: [UInt8](repeating: byte, count: part.byteCount).rawBytes)
                    model.replaceSubrange(
                        position..<position + part.byteCount, with: repeatElement(byte, count: part.byteCount))
                    used += part.byteCount
                    position += part.byteCount + (Bool.random(using: &generator) ? 0 : 4096)
                }
                try await volume.writev(vector, options: [])
                for index in 0..<vector.count { vector[index].zero() }
                try await volume.readv(vector)
                for index in 0..<vector.count {
                    let range = Int(vector[index].range.lowerBound)..<Int(vector[index].range.upperBound)
                    let isSame = await vector.withBytes(of: index) {
                        $0.bytes.hasSameBytes(as: model[range].span.bytes)
                    }
                    #expect(isSame, "round \(round), segment \(index)")
                }
            }
            let all = try await volume.bytes(at: 0, count: model.count)
            let isSame = all.rawBytes.hasSameBytes(as: model.rawBytes)
            #expect(isSame)
            try await volume.close()
        }

        @Test("is found by the 0 that CloudStack writes, whatever its number is, where the target has no other")
        func onlyDisk() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open(lun: 0)
            // The target's LUN 0 is its controller.
            #expect(volume.path == ISCSIPath(target: target.description.iqn, lun: 1))
            try await volume.fill(1, 0..<4096)
            try await target.change("kill")
            try await target.change("restart")
            #expect(try await volume.bytes(at: 0, count: 4096).allSatisfy { $0 == 1 })
            try await volume.close()
        }

        @Test("is one for several sessions, each of which sees what the others have written")
        func severalSessions() async throws {
            let target = try await TestTarget.start()
            let volumes = [try await target.open(), try await target.open(), try await target.open()]
            for round in UInt8(1)...9 {
                let writer = volumes[Int(round) % 3]
                try await writer.fill(round, 0..<4096)
                for volume in volumes {
                    #expect(try await volume.bytes(at: 0, count: 4096).allSatisfy { $0 == round })
                }
                // One that ends takes nothing from the others.
                volumes[Int(round + 1) % 3].link.breakSession()
            }
            for volume in volumes { try await volume.close() }
        }

        @Test("proves itself and has the target prove itself")
        func mutualCHAP() async throws {
            let target = try await TestTarget.start("--mutual")
            let volume = try await target.open()
            try await volume.fill(7, 0..<4096)
            #expect(try await volume.bytes(at: 0, count: 4096).allSatisfy { $0 == 7 })
            try await volume.close()
        }

        @Test("refuses a wrong secret of either side, and names no secret")
        func wrongSecrets() async throws {
            let target = try await TestTarget.start("--mutual")
            let wrong = "not-the-secret-1"
            let mine = await failure {
                _ = try await target.open { settings, _ in settings.credentials?.secret = Secret(wrong) }
            }
            #expect(mine?.code == .authenticationFailed, "\(String(describing: mine))")
            let theirs = await failure {
                _ = try await target.open { settings, _ in settings.targetCredentials?.secret = Secret(wrong) }
            }
            #expect(theirs?.code == .authenticationFailed, "\(String(describing: theirs))")
            for error in [mine, theirs] { #expect(error?.description.contains(wrong) == false) }
        }
    }
#endif
