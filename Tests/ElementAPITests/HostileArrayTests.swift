#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import NIOCore
    import Testing

    @testable import ElementAPI

    @Suite struct HostileArrayTests {
        private func failure(
            _ reply: ScriptedArray.Reply, _ change: (inout ElementOptions) -> Void = { _ in }
        ) async throws -> (StorageError?, ScriptedArray) {
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : reply }
            let client = try array.client(VirtualClock(), change)
            let error = await #expect(throws: StorageError.self) { _ = try await client.volumes() }
            try await array.close()
            return (error, array)
        }

        @Test(
            "an answer that is none is an input or output error",
            arguments: [
                "", "{", "null", "[]", "7", "<html><body>Not what you think</body></html>", "{\"id\": ID}",
                "{\"id\": ID, \"result\": null}", "{\"id\": ID, \"result\": []}", "{\"id\": ID, \"result\": {}}",
                "{\"id\": ID, \"error\": null}", "{\"id\": ID, \"error\": 5}", "{\"result\": {\"volumes\": []}}",
                "{\"id\": null, \"result\": {\"volumes\": []}}", "{\"id\": 99999, \"result\": {\"volumes\": []}}",
                "{\"id\": \"ID\", \"result\": {\"volumes\": []}}", "{\"id\": 1e400, \"result\": {\"volumes\": []}}",
                "{\"id\": 99999, \"error\": {\"name\": \"xUnknownAccount\"}}",
                "{\"id\": ID, \"result\": {\"volumes\": [{\"volumeID\": 99999999999999999999}]}}",
                "{\"id\": ID, \"result\": {\"volumes\": [{\"volumeID\": -1.5}]}}",
                "{\"id\": ID, \"result\": {\"volumes\": {}}}", "{\"id\": ID, \"result\": {\"volumes\": [null]}}",
                "\u{feff}{\"id\": ID", "{\"id\": ID, \"result\": \"\\ud800\"}",
            ])
        func malformed(body: String) async throws {
            let (error, array) = try await failure(.raw(body))
            #expect(error?.code == .inputOutput)
            #expect(array.count("ListVolumes") == 1)
        }

        @Test(
            "numbers that no volume has are an input or output error",
            arguments: [
                ("1000341504", "-5"), ("1000341504", "1e300"), ("1000341504", "18446744073709551616"),
                ("1000341504", "0.5"), ("\"minIOPS\": 100", "\"minIOPS\": -1"),
                ("\"volumeID\": 5", "\"volumeID\": 1e19"), ("\"8192\": 160", "\"8192\": 99999999999999999999"),
            ])
        func hugeNumbers(number: String, instead: String) async throws {
            let volume = Example.volume(5)
            #expect(volume.contains(number))
            let text = volume.replacingOccurrences(of: number, with: instead)
            let (error, _) = try await failure(.result(Example.volumes(text)))
            #expect(error?.code == .inputOutput)
        }

        @Test("an error whose number is no number is an error still")
        func oddError() async throws {
            let (error, _) = try await failure(.raw("{\"id\": null, \"error\": {\"name\": \"xInvalidParameter\"}}"))
            #expect(error?.code == .invalidArgument)
        }

        @Test("nesting without end is an input or output error")
        func deep() async throws {
            let depth = 200_000
            for text in [String(repeating: "[", count: depth), String(repeating: "{\"a\":", count: depth)] {
                let (error, _) = try await failure(.raw(text))
                #expect(error?.code == .inputOutput)
            }
            let attributes = String(repeating: "[", count: 400) + String(repeating: "]", count: 400)
            let array = try await ScriptedArray {
                $0.method == "GetAPI"
                    ? nil : .result(Example.volumes(Example.volume(5, attributes: "{\"x\": \(attributes)}")))
            }
            // Deep, and no deeper than the reader takes: either it is read or refused.
            _ = try? await array.client().volumes()
            try await array.close()
        }

        @Test(
            "a status that says what is wrong is believed, whatever the body is",
            arguments: [
                (401, StorageError.Code.authenticationFailed), (403, .permissionDenied), (404, .notSupported),
                (500, .inputOutput), (302, .notSupported),
            ])
        func statuses(status: Int, code: StorageError.Code) async throws {
            let html = "<html><head><title>Error</title></head><body>401 Unauthorized.</body></html>"
            let (error, array) = try await failure(
                .raw(status: status, headers: ["Location": "http://127.0.0.1:1/"], html))
            #expect(error?.code == code)
            #expect(array.count("ListVolumes") == 1)
        }

        @Test(
            "a server that is busy, or loses every connection, is tried again and then given up",
            arguments: [503, 429, 0])
        func busy(status: Int) async throws {
            let (error, array) = try await failure(status == 0 ? .cut() : .raw(status: status, "later"))
            #expect(error?.code == (status == 0 ? .connectionLost : .busy) && error?.isRetryable == true)
            #expect(array.count("ListVolumes") == 5)
        }

        @Test("a redirect takes the password nowhere")
        func redirect() async throws {
            let other = try await ScriptedArray { _ in nil }
            for status in [301, 307] {
                let location = "http://127.0.0.1:\(other.port)/json-rpc/12.3/"
                let (error, _) = try await failure(.raw(status: status, headers: ["Location": location], ""))
                #expect(error?.code == .notSupported)
            }
            #expect(other.allCalls.isEmpty)
            try await other.close()
        }

        @Test("an answer that is larger than allowed is left, and no more of it is read")
        func oversize() async throws {
            let (error, array) = try await failure(.endless) { $0.largestAnswer = 1 << 20 }
            #expect(error?.code == .inputOutput)
            // What the kernel's buffers take is taken by nobody.
            #expect(array.sent < 64 << 20)
        }

        @Test("an answer that does not come, or not to its end, is given up in time", arguments: ["", "{\"id\": 1, "])
        func slow(begin: String) async throws {
            let (error, _) = try await failure(.silence(after: begin)) {
                $0.requestTime = .milliseconds(300)
                $0.tries = 2
            }
            #expect(error?.code == .timedOut)
        }

        @Test("a task that is cancelled while the array says nothing ends as cancelled")
        func cancelled() async throws {
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .silence() }
            let client = try array.client()
            let task = Task { try await client.volumes() }
            while array.count("ListVolumes") == 0 { await Task.yield() }
            task.cancel()
            let error = await #expect(throws: StorageError.self) { _ = try await task.value }
            #expect(error?.code == .cancelled)
            try await array.close()
        }

        @Test("what does not speak HTTP is an input or output error, or lost")
        func noHTTP() async throws {
            let listener = try await TextServer("220 mail.example.com ESMTP\r\n")
            let client = try ElementClient(
                ElementEndpoint(
                    host: "127.0.0.1", port: listener.port, user: "admin", password: .init("secret"),
                    trust: .unencrypted), clock: VirtualClock())
            let error = await #expect(throws: StorageError.self) { _ = try await client.volumes() }
            #expect(error?.code == .inputOutput || error?.code == .connectionLost)
            try await listener.close()
        }

        @Test("where nobody listens the connection is lost")
        func nobody() async throws {
            let array = try await ScriptedArray { _ in nil }
            let client = try array.client()
            try await array.close()
            let error = await #expect(throws: StorageError.self) { _ = try await client.volumes() }
            #expect(error?.code == .connectionLost)
        }

        @Test("an answer with any of its bytes changed is read, or a typed error")
        func mutated() async throws {
            var randomness = SeededGenerator(seed: 17)
            let body = Locked<[UInt8]>([])
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .bytes(body.withLock { $0 }) }
            let client = try array.client()
            let volume = Example.volume(5, attributes: #"{"a": [1, {"b": null}]}"#)
            var read = 0
            for count in 0..<150 {
                var bytes = Array(#"{"id": \#(count + 2), "result": {"volumes": [\#(volume)]}}"#.utf8)
                for _ in 0..<Int.random(in: 1...3, using: &randomness) {
                    let at = Int.random(in: 0..<bytes.count, using: &randomness)
                    switch Int.random(in: 0..<4, using: &randomness) {
                    case 0: bytes[at] = UInt8.random(in: 0...255, using: &randomness)
                    case 1: bytes.remove(at: at)
                    case 2: bytes.insert(contentsOf: "99999999999".utf8, at: at)
                    default: bytes.removeSubrange((at + 1)...)
                    }
                }
                body.withLock { [bytes] in $0 = bytes }
                do throws(StorageError) {
                    read += try await client.volumes().count
                } catch {
                    #expect(error.code == .inputOutput)
                }
            }
            #expect((1..<150).contains(read))
            try await array.close()
        }
    }
#endif
