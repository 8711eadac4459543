#if ISCSI
    import BlockStorage
    import ElementAPI
    import Foundation
    import Testing

    /// A running `element-simulator`, whose volumes a tgtd serves, with something on it that is not Sluice's.
    struct SimulatedArray: Codable {
        let directory: String
        let port: UInt16

        static let password = Secret("s3cr3t-of-the-array")
        /// The account of the pool, and the access group of its hosts.
        private static let account = "sluice"
        private static let group = "hosts"

        /// One that lives as long as this process.
        static func start(in directory: String, control: String) throws -> SimulatedArray {
            try FileManager.default.createDirectory(atPath: directory + "/state", withIntermediateDirectories: true)
            try password.reveal { $0 }.write(toFile: directory + "/password", atomically: true, encoding: .utf8)
            let programs = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            // The simulator ends when the other end of the shell's standard input is gone.
            let line = try FixtureServer.launch(
                "/bin/sh",
                [
                    "-c", "\"$@\" & cat >/dev/null; kill -KILL $!", "sh",
                    programs.appending(path: "element-simulator").path, "--directory", directory + "/state",
                    "--http", "127.0.0.1:0", "--password-file", directory + "/password", "--tgt", control,
                    "--smallest-volume", "1048576", "--clone-seconds", "0",
                ])
            let address = try #require(
                URL(string: String(decoding: line, as: UTF8.self).trimmingCharacters(in: .newlines)))
            return SimulatedArray(directory: directory, port: UInt16(try #require(address.port)))
        }

        /// Of a pool on it.
        func url(portal: String, initiator: String) -> String {
            "element://127.0.0.1:\(port)?user=admin&transport=http&account=\(Self.account)&svip=\(portal)"
                + "&initiator=\(initiator)&access=group&access-group=\(Self.group)"
        }

        private func client() throws -> ElementClient {
            try ElementClient(
                ElementEndpoint(
                    host: "127.0.0.1", port: port, user: "admin", password: Self.password, trust: .unencrypted))
        }

        /// Makes a volume with a snapshot in another account, and one that nobody has adopted in the pool's.
        func addOthers() async throws {
            let client = try client()
            let other = try await client.addAccount(
                named: "another", initiatorSecret: Secret("another-secret"), targetSecret: nil, attributes: [:])
            let account = try #require(try await client.account(named: Self.account))
            var volumes: [Int64] = []
            for (name, account) in [("theirs", other.id), ("stray", account.id)] {
                let volume = try await client.createVolume(
                    ElementVolumeRequest(name: name, accountID: account, size: 1 << 20, attributes: ["of": "another"]))
                _ = try await client.createSnapshot(named: "friday", of: volume.id)
                let file = try FileHandle(forWritingTo: file(of: volume.id))
                try file.write(contentsOf: Data(repeating: 9, count: 4096))
                try file.close()
                volumes.append(volume.id)
            }
            _ = try await client.createAccessGroup(
                named: "others", initiators: ["iqn.2026-01.org.example:other"], volumes: volumes)
        }

        /// Of one that was never rolled back.
        private func file(of volume: Int64) -> URL { URL(filePath: directory + "/state/luns/volume-\(volume)-1") }

        /// What the array itself says: of what is not Sluice's all of it, and of the rest what does not change by itself.
        func facts() async throws -> Set<String> {
            let client = try client()
            var facts: Set<String> = []
            let volumes = try await client.volumes()
            var names: [Int64: String] = [:]
            var counts: [String: Int] = [:]
            for volume in volumes {
                // Arrays rename nothing: what was complete before it got its name has the one that it was built under.
                let name = volume.name.hasPrefix("sluice-incomplete-") ? "built elsewhere" : volume.name
                names[volume.id] = name
                if volume.attributes["of"] == "another" {
                    let bytes = try Data(contentsOf: file(of: volume.id))
                    let policy = volume.qos.map { [$0.minIOPS, $0.maxIOPS, $0.burstIOPS] } ?? []
                    var known = volume
                    // Its curve is in no order.
                    known.qos = nil
                    facts.insert("another's: \(known) \(policy), \(bytes.prefix { $0 == 9 }.count) bytes")
                } else {
                    let mark = volume.attributes["sluice"].map { "\($0)" } ?? ""
                    let isBusy = ["\"t\"", "\"w\"", "\"h\"", "\"d\""].contains(where: mark.contains)
                    let fact = "\(name): \(volume.size) \(volume.status.rawValue) busy \(isBusy)"
                    counts[fact + " access \(volume.access?.rawValue ?? "unknown")", default: 0] += 1
                }
            }
            for snapshot in try await client.snapshots(of: nil) {
                counts["\(names[snapshot.volumeID] ?? "nothing")@\(snapshot.name) \(snapshot.status)", default: 0] += 1
            }
            for account in try await client.accounts() {
                facts.insert("account \(account.name) \(account.status): \(account.volumeIDs.count) volumes")
            }
            for group in try await client.accessGroups() {
                let members = group.volumeIDs.map { names[$0] ?? "nothing" }.sorted()
                facts.insert("group \(group.name): \(group.initiators.sorted()), \(members)")
            }
            for session in try await client.sessions() { facts.insert("session of \(session.initiatorName)") }
            for (fact, count) in counts { facts.insert("\(count) of \(fact)") }
            return facts
        }
    }
#endif
