#if RBD
    import Foundation
    import Testing

    /// A real cluster on this machine, as `Fixtures/ceph start` describes it.
    struct CephCluster: Codable, Sendable {
        let confPath: String
        let adminKeyring: String
        let url: String
        let keyFile: String
        let pool: String

        /// One that lives as long as this process.
        static func start() throws -> CephCluster { try FixtureServer.start("ceph") }

        /// Ends at once what the cluster keeps for half a minute of clients that died with the image open. Nobody else
        /// may have it open.
        func forgetWatchers(of image: String) throws {
            for line in try ask("rbd", "status", image) {
                guard let word = line.split(separator: " ").first(where: { $0.contains("watcher=") }) else { continue }
                _ = try ask("ceph", "osd", "blocklist", "add", String(word.drop { $0 != "=" }.dropFirst()))
            }
        }

        struct Failure: Error {
            let command: String
            let arguments: [String]
        }

        /// Whether an object is there, and not only listed because what deleted snapshots held of it is not cleared yet.
        func has(_ object: String) throws -> Bool {
            (try? ask("rados", "stat", object)) != nil
        }

        /// The lines that a command of Ceph's own prints, as the administrator.
        func ask(_ command: String, _ arguments: String...) throws -> [String] {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments =
                [command, "--conf", confPath, "--keyring", adminKeyring] + (command == "ceph" ? [] : ["--pool", pool])
                + arguments
            let output = Pipe()
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            try process.run()
            let text = try output.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else { throw Failure(command: command, arguments: arguments) }
            return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }
#endif
