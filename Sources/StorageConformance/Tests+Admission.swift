import BlockStorage

/// What a pool that was opened with limits promises.
extension ConformanceTest {
    static let admission: [ConformanceTest] = [
        ConformanceTest("admission/policy", "A volume's policy is kept with it, and goes with it.") { context in
            let pool = context.pool
            let policy = try QoSPolicy(minIOPS: 100, maxIOPS: 200, burstIOPS: 300)
            let name = try await context.create()
            // Some arrays have no volume without one.
            let usual = try await pool.describeVolume(name).qos
            do throws(StorageError) {
                try await pool.setQoS(policy, of: name)
            } catch {
                guard error.code == .notSupported, pool.sharedPolicy != nil else { throw error }
                throw NotCapable(reason: error.why)
            }
            try expectEqual(try await pool.describeVolume(name).qos, policy, "policy of \(name)")
            let listed = try await pool.listVolumes().first { $0.name == name }
            try expectEqual(listed?.qos, policy, "policy of \(name) in the list")
            let newName = context.newName()
            try await pool.renameVolume(name, to: newName)
            try expectEqual(try await pool.describeVolume(newName).qos, policy, "policy after a rename")
            try await pool.setQoS(nil, of: newName)
            try expectEqual(try await pool.describeVolume(newName).qos, usual, "policy after it was removed")
            var request = context.request()
            request.qos = policy
            let created = context.newName()
            _ = try await pool.createVolume(created, request)
            try expectEqual(try await pool.describeVolume(created).qos, policy, "policy of a new volume")
        },
        ConformanceTest("admission/bytes", "Logical bytes are promised up to the limit, and given back.") { context in
            let pool = try await context.limited(toVolumes: 2)
            let names = (0..<3).map { _ in context.newName() }
            for name in names.prefix(2) { _ = try await pool.createVolume(name, context.request()) }
            try await expectError(.quotaExceeded, from: "a third volume where two fit") {
                try await pool.createVolume(names[2], context.request())
            }
            try await expectError(.notFound, from: "describing the refused volume") {
                try await pool.describeVolume(names[2])
            }
            _ = try await pool.createVolume(names[0], context.request())
            try await expectError(.quotaExceeded, from: "growing where there is no room") {
                try await pool.resizeVolume(names[0], to: context.size * 2, allowShrink: false)
            }
            try expectEqual(try await pool.describeVolume(names[0]).virtualSize, context.size, "size after a refusal")
            try await pool.deleteVolume(names[0], policy: .refuse)
            _ = try await pool.createVolume(names[2], context.request())
        },
        ConformanceTest("admission/clones", "Clones, full copies and templates count with their size.") { context in
            let pool = try await context.limited(toVolumes: 2)
            let names = (0..<4).map { _ in context.newName() }
            _ = try await pool.createVolume(names[0], context.request())
            let reference = VolumeReference(names[0])
            _ = try await pool.cloneVolume(reference, as: names[1], CloneRequest(isFull: true))
            try await expectError(.quotaExceeded, from: "a full copy where there is no room") {
                try await pool.cloneVolume(reference, as: names[2], CloneRequest(isFull: true))
            }
            if pool.can(.linkedClone, context.format) {
                try await expectError(.quotaExceeded, from: "a linked clone where there is no room") {
                    try await pool.cloneVolume(reference, as: names[3], CloneRequest())
                }
            }
            try await expectError(.quotaExceeded, .notSupported, from: "a template where there is no room") {
                try await pool.stageTemplate(context.newTemplateName(), size: context.size)
            }
            try await pool.deleteVolume(names[1], policy: .refuse)
            var staged: (any StagedTemplate)?
            do throws(StorageError) {
                staged = try await pool.stageTemplate(context.newTemplateName(), size: context.size)
            } catch {
                if error.code != .notSupported { throw error }
            }
            if let staged {
                context.staged(staged)
                try await expectError(.quotaExceeded, from: "a volume in the room of a template that is written") {
                    try await pool.createVolume(names[2], context.request())
                }
                await staged.discard()
            }
            _ = try await pool.createVolume(names[2], context.request())
        },
        ConformanceTest("admission/iops", "Minimums are promised up to the limit, and given back.") { context in
            // What a volume gets of which nothing is said: nothing, but from arrays that have no volume without.
            let usual = try await context.pool.describeVolume(try await context.create()).qos
            let least = usual?.minIOPS ?? 0
            let pool = try await context.limited(toIOPS: 1000 + least)
            var request = context.request()
            request.qos = try QoSPolicy(minIOPS: 600)
            let names = (0..<3).map { _ in context.newName() }
            do throws(StorageError) {
                _ = try await pool.createVolume(names[0], request)
            } catch {
                if error.code == .notSupported { throw NotCapable(reason: error.why) }
                throw error
            }
            try await expectError(.quotaExceeded, from: "a volume with more minimum than is left") {
                try await pool.createVolume(names[1], request)
            }
            _ = try await pool.createVolume(names[1], context.request())
            let rest = try QoSPolicy(minIOPS: 400 + least)
            try await expectError(.quotaExceeded, from: "setting more minimum than is left") {
                try await pool.setQoS(QoSPolicy(minIOPS: 401 + least), of: names[1])
            }
            try expectEqual(try await pool.describeVolume(names[1]).qos, usual, "policy after a refusal")
            try await pool.setQoS(rest, of: names[1])
            try await pool.setQoS(QoSPolicy(minIOPS: 400 + least, maxIOPS: 10000), of: names[1])
            try await pool.setQoS(nil, of: names[0])
            request.qos = try QoSPolicy(minIOPS: 600 - min(least, 500))
            _ = try await pool.createVolume(names[2], request)
        },
        ConformanceTest("admission/reservation", "Reserved room is nobody else's, and used once.") { context in
            let pool = try await context.limited(toVolumes: 2)
            let (name, other) = (context.newName(), context.newName())
            do throws(StorageError) {
                try await pool.reserveVolume(name, context.request())
            } catch {
                if error.code == .notSupported { throw NotCapable(reason: error.why) }
                throw error
            }
            try await pool.reserveVolume(name, context.request())
            try await expectError(.notFound, from: "describing a reserved name") {
                try await pool.describeVolume(name)
            }
            try await expectError(.alreadyExists, from: "another volume under a reserved name") {
                try await pool.createVolume(name, context.request(size: context.size / 2))
            }
            _ = try await pool.createVolume(other, context.request())
            try await expectError(.quotaExceeded, from: "a volume in reserved room") {
                try await pool.createVolume(context.newName(), context.request())
            }
            _ = try await pool.createVolume(name, context.request())
            try await pool.deleteVolume(other, policy: .refuse)
            try await pool.reserveVolume(other, context.request())
            try await pool.deleteVolume(other, policy: .refuse)
            _ = try await pool.createVolume(context.newName(), context.request())
        },
        ConformanceTest("admission/concurrent", "Of creations at once as many succeed as there is room for.") {
            context in
            let pools = try await [context.limited(toVolumes: 8), context.limited(toVolumes: 8)]
            let names = (0..<16).map { _ in context.newName() }
            let codes = await withTaskGroup(of: StorageError.Code?.self) { group in
                for (index, name) in names.enumerated() {
                    group.addTask {
                        do throws(StorageError) {
                            _ = try await pools[index % 2].createVolume(name, context.request())
                            return nil
                        } catch {
                            return error.code
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            try expectEqual(codes.count { $0 == nil }, 8, "creations that succeeded where 8 fit")
            try expectEqual(codes.count { $0 == .quotaExceeded }, 8, "creations refused for want of room")
        },
    ]
}
