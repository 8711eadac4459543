#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import Sluice

    @Suite struct PortalTests {
        private struct NoIntents: IntentLog {
            func begin(_ intent: Intent) async throws(StorageError) -> IntentToken { IntentToken(id: 1) }
            func end(_ token: IntentToken) async throws(StorageError) {}
        }

        private func check(_ port: UInt16, bind: String?) async throws -> StorageError.Code? {
            let text = "tgt://127.0.0.1:\(port)?directory=/srv&deadline=5" + (bind.map { "&bind=\($0)" } ?? "")
            let configuration = PoolConfiguration(name: "p", url: try PoolURL.parse(text).url, intents: NoIntents())
            do throws(StorageError) {
                try await PoolDriver.checkPortals([HostAndPort("127.0.0.1", port: port)], of: configuration)
                return nil
            } catch {
                return error.code
            }
        }

        @Test("A pool's portals are tried from the address that its URL binds connections to")
        func binds() async throws {
            let listener = try await Socket.listen(.tcp(host: "127.0.0.1", port: 0))
            let port = try #require(listener.localPort)
            #expect(try await check(port, bind: nil) == nil)
            #expect(try await check(port, bind: "127.0.0.1") == nil)
            // No address of this host, and one that cannot reach the portal.
            #expect(try await check(port, bind: "192.0.2.1") == .invalidArgument)
            #expect(try await check(port, bind: "::1") == .invalidArgument)
            listener.close()
            #expect(try await check(port, bind: "127.0.0.1") == .connectionLost)
        }
    }
#endif
