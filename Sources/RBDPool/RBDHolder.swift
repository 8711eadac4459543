#if RBD
    import BlockStorage
    import Foundation

    /// Who has an image open for writing: a process of a host. It stands in the image's metadata, for people on other
    /// hosts, and so that the host itself can tell that the process is dead before the cluster does.
    struct RBDHolder: Codable, Equatable, Sendable {
        static let metadataKey = "sluice_holder"

        /// As the cluster names the client that has the lock.
        var address: String
        var host: String
        var program: String
        var processID: Int32
        /// When the process began, in the kernel's ticks: another process may get the same number.
        var processStart: UInt64
        /// This run of the host's kernel.
        var boot: String
        /// The namespace that the process's number belongs to.
        var namespace: String
        /// Seconds since 1970, UTC.
        var since: Int64

        /// This process. Reads a few files of `/proc`, which never wait.
        init?(address: String) {
            guard let process = ProcessIdentity.current() else { return nil }
            self.address = address
            program = ProcessInfo.processInfo.processName
            (host, processID, processStart) = (process.host, process.processID, process.start)
            (boot, namespace, since) = (process.boot, process.namespace, process.since)
        }

        /// From an image's metadata; nil for what nobody of this version wrote.
        init?(metadata: String) {
            guard let holder = try? JSONDecoder().decode(Self.self, from: Data(metadata.utf8)) else { return nil }
            self = holder
        }

        var metadata: String? {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) }
        }

        /// Whether the process was one of this host and is gone. False where that cannot be known.
        var isDead: Bool { process.isDead }

        /// Whether the process is one of this host and runs. False where that cannot be known.
        var isAlive: Bool { process.isAlive }

        /// Whether it is this very process.
        var isThisProcess: Bool { process.isThisProcess }

        private var process: ProcessIdentity {
            ProcessIdentity(
                host: host, processID: processID, start: processStart, boot: boot, namespace: namespace, since: since)
        }
    }

    extension RBDHolder: CustomStringConvertible {
        var description: String {
            "\(program), \(process)"
        }
    }
#endif
