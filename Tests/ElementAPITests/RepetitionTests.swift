#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import ElementAPI

    @Suite struct RepetitionTests {
        static let passing = [
            "xDBVersionMismatch", "xMaxSnapshotsPerVolumeExceeded", "xMaxClonesPerVolumeExceeded",
            "xMaxSnapshotsPerNodeExceeded", "xMaxClonesPerNodeExceeded", "xSliceNotRegistered", "xNotReadyForIO",
            "xNotPrimary", "xDBOperationTimeout", "xDBConnectionLoss", "xNoHandler", "xSnapshotFailed",
            "xRecvTimeout", "xDBNoSuchPath", "xPermissionDenied",
        ]

        @Test("what passes is tried five times, with pauses of 1, 2, 4 and 8 seconds", arguments: passing)
        func repeats(name: String) async throws {
            let clock = VirtualClock()
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .refusal(name) }
            let client = try array.client(clock)
            await #expect(throws: StorageError.self) { _ = try await client.clusterInfo() }
            #expect(array.count("GetClusterInfo") == 5)
            #expect(clock.pauses == [1, 2, 4, 8].map { .seconds($0) })
            try await array.close()
        }

        @Test("what passes in time is not noticed")
        func passes() async throws {
            let clock = VirtualClock()
            let count = Locked(0)
            let array = try await ScriptedArray { call in
                guard call.method == "ModifyVolume" else { return nil }
                let now = count.withLock { count in
                    count += 1
                    return count
                }
                return now < 4
                    ? [.refusal("xNotPrimary"), .cut(), .raw(status: 503, "busy")][now - 1]
                    : .result("{\"volume\": \(Example.volume(5))}")
            }
            let client = try array.client(clock)
            #expect(try await client.modifyVolume(5, ElementVolumeChange(size: 1_000_341_504)).id == 5)
            #expect(clock.pauses == [1, 2, 4].map { .seconds($0) })
            try await array.close()
        }

        @Test("an array that cannot find a path does not say that a volume is gone")
        func missingPath() async throws {
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .refusal("xDBNoSuchPath") }
            let client = try array.client()
            for call in [
                { try await client.deleteVolume(5) }, { _ = try await client.volume(5) },
                { _ = try await client.account(named: "pool") }, { _ = try await client.snapshots(of: 5) },
            ] as [@Sendable () async throws -> Void] {
                let error = await #expect(throws: StorageError.self) { try await call() }
                #expect(error?.code == .busy)
            }
            try await array.close()
        }

        @Test("no pause goes beyond the deadline of the call")
        func keepsDeadline() async throws {
            let clock = VirtualClock()
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .refusal("xNotPrimary") }
            let client = try array.client(clock) { $0.deadline = .seconds(6) }
            await #expect(throws: StorageError.self) { _ = try await client.clusterInfo() }
            #expect(clock.pauses == [1, 2].map { .seconds($0) })
            try await array.close()
        }

        @Test("a call that is cancelled while it pauses ends, as cancelled or with what went wrong")
        func cancels() async throws {
            let clock = VirtualClock()
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .refusal("xNotPrimary") }
            let client = try array.client(clock)
            let running = Locked<Task<ElementClusterInfo, any Error>?>(nil)
            clock.onPause { running.withLock { $0?.cancel() } }
            let task = Task {
                while running.withLock({ $0 == nil }) { await Task.yield() }
                return try await client.clusterInfo()
            }
            running.withLock { $0 = task }
            await #expect(throws: StorageError.self) { _ = try await task.value }
            #expect(array.count("GetClusterInfo") == 1)
            try await array.close()
        }

        // MARK: What is made once

        private static let ticket: ElementAttributes = ["ticket": "A1"]

        private static var request: ElementVolumeRequest {
            ElementVolumeRequest(name: "disk", accountID: 3, size: 1_000_341_504, attributes: ticket)
        }

        /// Keeps volumes, and answers the calls of a life cycle; `fault` comes first.
        private final class Volumes: Sendable {
            struct State {
                var volumes: [Int64: (status: String, attributes: String)] = [:]
                var next: Int64 = 10
            }

            let state = Locked(State())

            func make(_ call: ScriptedArray.Call) -> Int64 {
                let attributes = (try? JSONEncoder().encode(call.parameters["attributes"])).map {
                    String(decoding: $0, as: UTF8.self)
                }
                return state.withLock { state in
                    state.next += 1
                    state.volumes[state.next] = ("active", attributes ?? "{}")
                    return state.next
                }
            }

            var list: String {
                let all = state.withLock { $0.volumes }.sorted { $0.key < $1.key }
                return "{\"volumes\": [\(all.map { text($0.key, $0.value) }.joined(separator: ","))]}"
            }

            private func text(_ id: Int64, _ value: (status: String, attributes: String)) -> String {
                Example.volume(id, status: value.status, attributes: value.attributes)
            }

            func answer(_ call: ScriptedArray.Call) -> ScriptedArray.Reply? {
                switch call.method {
                case "CreateVolume": return .result("{\"volumeID\": \(make(call))}")
                case "CloneVolume":
                    return .result("{\"volumeID\": \(make(call)), \"cloneID\": 1, \"asyncHandle\": 77}")
                case "ListVolumes":
                    if case .list(let ids)? = call.parameters["volumeIDs"], case .integer(let id)? = ids.first {
                        return state.withLock { $0.volumes[id] }.map { .result(Example.volumes(text(id, $0))) }
                            ?? .refusal("xVolumeIDDoesNotExist")
                    }
                    return .result(list)
                case "DeleteVolume":
                    state.withLock { $0.volumes[call.integer("volumeID") ?? 0]?.status = "deleted" }
                    return .result("{}")
                case "PurgeDeletedVolume":
                    state.withLock { $0.volumes[call.integer("volumeID") ?? 0] = nil }
                    return .result("{}")
                default: return nil
                }
            }

            var ids: [Int64] { state.withLock { $0.volumes.keys.sorted() } }
        }

        @Test(
            "a create whose answer is lost is looked up, and not made again",
            arguments: [
                ScriptedArray.Reply.cut(), .cut(after: "{\"id\""), .raw("{\"id\": ID, \"res"), .refusal("xRecvTimeout"),
                .raw(status: 502, "<html>"),
            ])
        func looksUp(loss: ScriptedArray.Reply) async throws {
            let volumes = Volumes()
            // Another one of the same name, that somebody else made.
            volumes.state.withLock { $0.volumes[2] = ("active", "{}") }
            let array = try await ScriptedArray { call in
                guard call.method == "CreateVolume" else { return volumes.answer(call) }
                _ = volumes.make(call)
                return loss
            }
            let volume = try await array.client().createVolume(Self.request)
            #expect(volume.id == 11 && volumes.ids == [2, 11])
            #expect(array.count("CreateVolume") == 1)
            try await array.close()
        }

        @Test("a create that the array never got is sent again, after it was looked for")
        func makesAgain() async throws {
            let volumes = Volumes()
            let isFirst = Locked(true)
            let array = try await ScriptedArray { call in
                if call.method == "CreateVolume",
                    isFirst.withLock({ first in
                        defer { first = false }
                        return first
                    })
                {
                    return .cut()
                }
                return volumes.answer(call)
            }
            let clock = VirtualClock()
            let volume = try await array.client(clock).createVolume(Self.request)
            #expect(volume.id == 11 && clock.pauses.first == .seconds(1))
            #expect(array.methods.prefix(3) == ["CreateVolume", "ListVolumes", "CreateVolume"])
            try await array.close()
        }

        @Test("of two that were made, because the first came late, one stays")
        func removesDuplicates() async throws {
            let volumes = Volumes()
            let calls = Locked(0)
            let array = try await ScriptedArray { call in
                guard call.method == "CreateVolume" else { return volumes.answer(call) }
                let count = calls.withLock { count in
                    count += 1
                    return count
                }
                if count == 1 { return .cut() }
                // The first one, now.
                _ = volumes.make(call)
                return volumes.answer(call)
            }
            let volume = try await array.client().createVolume(Self.request)
            #expect(volume.id == 11 && volumes.ids == [11])
            #expect(array.count("DeleteVolume") == 1 && array.count("PurgeDeletedVolume") == 1)
            try await array.close()
        }

        @Test("while nothing can be seen of a lost create, nothing is made again")
        func makesNothingBlindly() async throws {
            let clock = VirtualClock()
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .cut() }
            let error = await #expect(throws: StorageError.self) {
                _ = try await array.client(clock).createVolume(Self.request)
            }
            #expect(error?.code == .connectionLost)
            #expect(array.count("CreateVolume") == 1)
            #expect(clock.elapsed < .seconds(300))
            try await array.close()
        }

        @Test("a create that the array refuses is neither looked up nor repeated")
        func takesRefusal() async throws {
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .refusal("xExceededLimit") }
            let error = await #expect(throws: StorageError.self) {
                _ = try await array.client().createVolume(Self.request)
            }
            #expect(error?.code == .quotaExceeded && array.methods == ["CreateVolume"])
            try await array.close()
        }

        @Test("a volume that is not what was asked for is refused")
        func checksMade() async throws {
            for wrong in [Example.volume(12), Example.volume(11, name: "x"), Example.volume(11, account: 9)] {
                let array = try await ScriptedArray { call in
                    call.method == "CreateVolume" ? .result("{\"volumeID\": 11, \"volume\": \(wrong)}") : nil
                }
                let error = await #expect(throws: StorageError.self) {
                    _ = try await array.client().createVolume(Self.request)
                }
                #expect(error?.code == .inputOutput)
                try await array.close()
            }
        }

        @Test("a snapshot whose answer is lost is found again")
        func findsSnapshot() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "CreateSnapshot": .cut()
                case "ListSnapshots":
                    .result(
                        """
                        {"snapshots": [\(Example.snapshot(8, of: 5, name: "s", attributes: #"{"ticket": "A1"}"#)),
                        \(Example.snapshot(7, of: 5, name: "s"))]}
                        """)
                default: nil
                }
            }
            let snapshot = try await array.client().createSnapshot(named: "s", of: 5, attributes: Self.ticket)
            #expect(snapshot.id == 8 && snapshot.status == "done" && snapshot.size == 1_000_341_504)
            #expect(array.count("CreateSnapshot") == 1)
            try await array.close()
        }

        // MARK: Clones

        private static let cloneRequest = ElementCloneRequest(of: 5, as: "disk", attributes: ticket)

        @Test("a clone is waited for")
        func clones() async throws {
            let volumes = Volumes()
            let polls = Locked(0)
            let array = try await ScriptedArray { call in
                guard call.method == "GetAsyncResult" else { return volumes.answer(call) }
                #expect(call.integer("asyncHandle") == 77 && call.parameters["keepResult"] == .flag(true))
                let count = polls.withLock { count in
                    count += 1
                    return count
                }
                return .result(
                    count < 4
                        ? #"{"status": "running", "resultType": "Clone", "details": {"percent": 3}}"#
                        : #"{"status": "complete", "resultType": "Clone", "result": {"volumeID": 11, "cloneID": 1}}"#)
            }
            let clock = VirtualClock()
            let client = try array.client(clock)
            let clone = try await client.startClone(Self.cloneRequest)
            #expect(clone.volumeID == 11 && clone.asyncHandle == 77)
            #expect(try await client.finishClone(clone).id == 11)
            #expect(clock.pauses == [.milliseconds(100), .milliseconds(200), .milliseconds(400)])
            try await array.close()
        }

        @Test("a clone that runs for ever ends at its time, with the questions less and less often")
        func boundsClone() async throws {
            let array = try await ScriptedArray { call in
                call.method == "GetAsyncResult" ? .result(#"{"status": "running"}"#) : nil
            }
            let clock = VirtualClock()
            let client = try array.client(clock) { $0.operationTime = .seconds(100) }
            let error = await #expect(throws: StorageError.self) {
                _ = try await client.finishClone(ElementClone(volumeID: 11, asyncHandle: 77))
            }
            #expect(error?.code == .timedOut && clock.elapsed < .seconds(100) && clock.elapsed > .seconds(90))
            #expect(array.count("GetAsyncResult") < 30)
            try await array.close()
        }

        @Test(
            "a clone that fails says why",
            arguments: [
                (
                    #"{"status": "error", "result": {"name": "xVolumeIDDoesNotExist", "message": "gone"}}"#,
                    StorageError.Code.notFound
                ),
                (#"{"status": "error"}"#, .inputOutput),
                (
                    #"{"status": "complete", "error": {"name": "xNoHandler"}}"#,
                    .connectionLost
                ),
                (#"{"status": "complete", "result": {"volumeID": 12}}"#, .inputOutput),
                (#"{"status": "peculiar"}"#, .inputOutput), (#"{"status": 7}"#, .inputOutput), (#"{}"#, .inputOutput),
            ])
        func cloneFails(answer: String, code: StorageError.Code) async throws {
            let array = try await ScriptedArray { $0.method == "GetAsyncResult" ? .result(answer) : nil }
            let clock = VirtualClock()
            let error = await #expect(throws: StorageError.self) {
                _ = try await array.client(clock).finishClone(ElementClone(volumeID: 11, asyncHandle: 77))
            }
            #expect(error?.code == code && clock.pauses.isEmpty)
            try await array.close()
        }

        @Test(
            "when the array has forgotten the operation, the volume tells",
            arguments: ["xAsyncHandleDoesNotExist", "xDBNoSuchPath"])
        func forgottenHandle(name: String) async throws {
            let volumes = Volumes()
            volumes.state.withLock { $0.volumes[11] = ("creating", "{}") }
            let array = try await ScriptedArray { call in
                call.method == "GetAsyncResult"
                    ? .refusal(name, "Async handle 77 does not exist.") : volumes.answer(call)
            }
            let clock = VirtualClock()
            clock.onPause {
                if clock.pauses.count == 3 { volumes.state.withLock { $0.volumes[11]?.status = "active" } }
            }
            let client = try array.client(clock)
            #expect(try await client.finishClone(ElementClone(volumeID: 11, asyncHandle: 77)).status == .active)
            #expect(array.count("GetAsyncResult") == 1)
            volumes.state.withLock { $0.volumes[11] = nil }
            let error = await #expect(throws: StorageError.self) {
                _ = try await client.finishClone(ElementClone(volumeID: 11, asyncHandle: 77))
            }
            #expect(error?.code == .notFound)
            try await array.close()
        }

        @Test("a clone whose answer is lost is found by its attributes, and waited for without a handle")
        func findsClone() async throws {
            let volumes = Volumes()
            volumes.state.withLock { $0.volumes[5] = ("active", "{}") }
            let array = try await ScriptedArray { call in
                guard call.method == "CloneVolume" else { return volumes.answer(call) }
                _ = volumes.make(call)
                return .cut()
            }
            let client = try array.client()
            let clone = try await client.startClone(Self.cloneRequest)
            #expect(clone == ElementClone(volumeID: 11, asyncHandle: nil))
            #expect(try await client.finishClone(clone).id == 11)
            #expect(array.count("CloneVolume") == 1)
            try await array.close()
        }
    }
#endif
