#if ISCSI
    import BlockStorage
    import Testing

    @testable import Sluice

    @Suite struct ElementSharedPoolTests {
        /// Opens a shared volume's mount point, on which there can be no pool, while nobody reaches the array.
        private func open(registeredAs identity: String?) async throws -> OpenedPool {
            let directory = try TemporaryDirectory()
            let host = try await StorageHost.open(home: directory.appending("home"), drivers: [])
            let url = try PoolURL.parse(
                "element://127.0.0.1:1?user=admin&transport=http&initiator=iqn.2026-01.org.sluice:a&deadline=1"
                    + "&minIops=500&maxIops=1000&burstIops=2000&mount=/proc&force=true"
            ).url
            return try await PoolDriver.element().open(
                PoolConfiguration(
                    name: "s", url: url, secret: Secret("s3cr3t"), intents: host.intents, identity: identity,
                    limits: PoolLimits(capacityBytes: 1 << 30)))
        }

        @Test("A pool is not added while its array is away, and once it is registered the array is not what it needs")
        func outage() async throws {
            await expect(.connectionLost) { try await open(registeredAs: nil) }
            let error = await #expect(throws: StorageError.self) { try await open(registeredAs: "identity") }
            #expect(error?.place.hasPrefix("/proc") == true, "\(error as Any)")
        }
    }
#endif
