#if RBD
    import Testing

    @testable import RBDPool

    @Suite("Addresses of monitors")
    struct RBDAddressesTests {
        @Test("The port says which messenger is meant, where it is one of Ceph's own")
        func ports() {
            #expect(RBDAddresses.text("192.0.2.1", port: nil) == "192.0.2.1")
            #expect(RBDAddresses.text("192.0.2.1", port: 3300) == "v2:192.0.2.1:3300")
            #expect(RBDAddresses.text("192.0.2.1", port: 6789) == "v1:192.0.2.1:6789")
            #expect(RBDAddresses.text("192.0.2.1", port: 13300, messenger: { _, _ in "v2" }) == "v2:192.0.2.1:13300")
            #expect(RBDAddresses.text("192.0.2.1", port: 13300, messenger: { _, _ in nil }) == "192.0.2.1:13300")
            #expect(RBDAddresses.text("2001:db8::1", port: 3300) == "v2:[2001:db8::1]:3300")
        }

        @Test("Only what is a key reaches librados, which prints anything else")
        func keys() {
            #expect(RBDCluster.isKey("AQBW/R9ntZHBARAAGwXwHmmxdVGfZIjNJ7HBVw=="))
            #expect(!RBDCluster.isKey("Nq5+hM/c9Yb3RzKe71uL"))
            #expect(!RBDCluster.isKey("rubbish"))
            #expect(!RBDCluster.isKey(""))
        }

        @Test("Of several monitors one whose name is not known is left out")
        func unknownNames() throws {
            let monitors = [
                RBDCluster.Monitor(host: "monitor.invalid"), RBDCluster.Monitor(host: "127.0.0.1", port: 3300),
            ]
            #expect(try RBDAddresses.resolve(monitors) == ["v2:127.0.0.1:3300"])
            #expect(throws: (any Error).self) { try RBDAddresses.resolve(Array(monitors.prefix(1))) }
        }
    }
#endif
