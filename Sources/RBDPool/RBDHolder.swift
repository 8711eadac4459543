#if RBD
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
            let process = ProcessInfo.processInfo
            guard case .started(let start) = Self.state(of: process.processIdentifier),
                let (boot, namespace) = Self.kernel
            else { return nil }
            self.address = address
            host = process.hostName
            program = process.processName
            processID = process.processIdentifier
            processStart = start
            (self.boot, self.namespace) = (boot, namespace)
            since = Int64(Date().timeIntervalSince1970)
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
        var isDead: Bool {
            guard isVisible else { return false }
            // A process of another user answers with EPERM.
            if kill(processID, 0) != 0, errno == ESRCH { return true }
            return switch Self.state(of: processID) {
            case .unknown: false
            case .zombie: true
            case .started(let time): time != processStart
            }
        }

        /// Whether the process is one of this host and runs. False where that cannot be known.
        var isAlive: Bool { isVisible && Self.state(of: processID) == .started(processStart) }

        /// Whether it is this very process.
        var isThisProcess: Bool { isAlive && processID == getpid() }

        /// Whether its number means the same process here as there.
        private var isVisible: Bool {
            guard let (boot, namespace) = Self.kernel, processID > 0 else { return false }
            return boot == self.boot && namespace == self.namespace
        }

        private static let kernel: (boot: String, namespace: String)? = {
            guard let boot = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8),
                let namespace = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")
            else { return nil }
            return (boot.trimmingCharacters(in: .whitespacesAndNewlines), namespace)
        }()

        private enum State: Equatable {
            /// Nothing can be read of it, for whatever reason.
            case unknown
            /// It has let go of everything.
            case zombie
            /// It began at this tick.
            case started(UInt64)
        }

        /// Fields 3 and 22 of `/proc/PID/stat`; the second may have spaces and parentheses of its own.
        private static func state(of process: Int32) -> State {
            guard let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
                let end = status.lastIndex(of: ")")
            else { return .unknown }
            let fields = status[status.index(after: end)...].split(separator: " ")
            guard fields.count > 19 else { return .unknown }
            if fields[0] == "Z" || fields[0] == "X" { return .zombie }
            return UInt64(fields[19]).map { .started($0) } ?? .unknown
        }
    }

    extension RBDHolder: CustomStringConvertible {
        var description: String {
            let time = Date(timeIntervalSince1970: TimeInterval(since)).formatted(.iso8601)
            return "\(program), pid \(processID) on \(host), since \(time)"
        }
    }
#endif
