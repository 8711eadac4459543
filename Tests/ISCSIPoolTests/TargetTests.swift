#if ISCSI
    import BlockStorage
    import Foundation
    import SystemPackage
    import Testing

    @testable import ISCSIPool

    @Suite("How an iSCSI target is named and reached")
    struct TargetTests {
        @Test("paths are those that CloudStack writes")
        func paths() throws {
            let path = try ISCSIPath("/iqn.2010-01.com.solidfire:3p53.data.42/0")
            #expect(path.target == "iqn.2010-01.com.solidfire:3p53.data.42" && path.lun == 0)
            #expect("\(path)" == "/iqn.2010-01.com.solidfire:3p53.data.42/0")
            for wrong in [
                "", "/", "//1", "/iqn.x:y", "iqn.x:y/1", "/iqn.x:y/", "/iqn.x:y/-1", "/iqn.x:y/16384", "/a/1/2",
            ] {
                #expect(throws: StorageError.self, "\(wrong)") { _ = try ISCSIPath(wrong) }
            }
        }

        @Test("portals are hosts with or without a port")
        func portals() {
            func parsed(_ text: String) -> String? {
                ISCSIAddress.parse(text).map { "\($0.host) \($0.port)" }
            }
            #expect(parsed("10.0.0.1") == "10.0.0.1 3260")
            #expect(parsed("10.0.0.1:13260,1") == "10.0.0.1 13260")
            #expect(parsed("array.example") == "array.example 3260")
            #expect(parsed("[fd00::1]:3261") == "fd00::1 3261")
            #expect(parsed("fd00::1") == "fd00::1 3260")
            for wrong in ["", ":3260", "a:0", "a:99999", "a:b", "[fd00::1", "[::1]x"] { #expect(parsed(wrong) == nil) }
        }

        @Test("a target that knows no checksums is not used where they are asked for")
        func noDigest() async throws {
            let target = try await TestTarget.start()
            let error = await failure { _ = try await target.open { settings, _ in settings.headerDigest = .crc32c } }
            #expect(error?.code == .notSupported, "\(String(describing: error))")
        }

        @Test("names and secrets that no target takes are refused")
        func limits() async {
            let long = String(repeating: "x", count: 300)
            func refused(_ change: (inout ISCSITarget) -> Void) async -> StorageError.Code? {
                var target = ISCSITarget(portals: ["127.0.0.1:1"], name: "iqn.x:y", initiatorName: "iqn.x:z")
                change(&target)
                return await failure { _ = try await ISCSIVolume.open(target, lun: 1) }?.code
            }
            #expect(await refused { $0.name = "iqn.\(long)" } == .invalidArgument)
            #expect(await refused { $0.name = "y" } == .invalidArgument)
            #expect(await refused { $0.initiatorName = "" } == .invalidArgument)
            #expect(await refused { $0.portals = [] } == .invalidArgument)
            #expect(await refused { $0.portals = ["a:b"] } == .invalidArgument)
            #expect(
                await refused { $0.credentials = .init(user: "u", secret: Secret(long)) } == .invalidArgument)
            #expect(
                await refused { $0.targetCredentials = .init(user: "u", secret: Secret("s")) } == .invalidArgument)
            #expect(await refused { _ in } == .connectionLost)
        }

        @Test("the host's own name is in its file")
        func hostName() async throws {
            let directory = FilePath("/tmp/sluice-initiator-\(UUID().uuidString)")
            try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: directory.string) }
            let file = directory.appending("initiatorname.iscsi")
            let none = await failure { _ = try await ISCSIInitiator.hostName(in: file) }
            #expect(none?.code == .notFound && none?.why.contains("no name as an initiator") == true)
            try "## Unique\n#InitiatorName=iqn.no:no\nInitiatorName=iqn.1993-08.org.debian:01:abc \n".write(
                toFile: file.string, atomically: true, encoding: .utf8)
            #expect(try await ISCSIInitiator.hostName(in: file) == "iqn.1993-08.org.debian:01:abc")
            try "InitiatorName=iqn.1993-08.org.Debian:01:ABC\n".write(
                toFile: file.string, atomically: true, encoding: .utf8)
            #expect(try await ISCSIInitiator.hostName(in: file) == "iqn.1993-08.org.debian:01:abc")
        }

        @Test("a portal tells the targets that it knows")
        func discovery() async throws {
            let target = try await TestTarget.start()
            let found = try await target.settings.discover(deadline: .seconds(30))
            #expect(found.map(\.name) == [target.description.iqn])
            #expect(found.first?.portals.contains { $0.hasPrefix("127.0.0.1:") } == true, "\(found)")
        }

        @Test("headers carry checksums, and connections come from the address, that are asked for")
        func digestAndAddress() async throws {
            let target = try await TestTarget.start("--header-digest")
            let volume = try await target.open { settings, _ in
                settings.headerDigest = .crc32c
                settings.boundAddress = "127.0.0.1"
            }
            try await volume.fill(5, 0..<1 << 20)
            #expect(try await volume.bytes(at: 0, count: 1 << 20).allSatisfy { $0 == 5 })
            try await volume.close()
            let foreign = await failure {
                _ = try await target.open { settings, _ in settings.boundAddress = "192.0.2.1" }
            }
            #expect(foreign?.code == .invalidArgument)
        }
    }
#endif
