import Foundation

/// A process of a host, as it is told from every other: for what outlives it in storage that other hosts see.
///
/// As text it is short, and one of the host itself can tell from it that the process is dead.
public struct ProcessIdentity: Hashable, Sendable {
    public var host: String
    public var processID: Int32
    /// When the process began, in the kernel's ticks: another process may get the same number.
    public var start: UInt64
    /// This run of the host's kernel.
    public var boot: String
    /// The namespace that the process's number belongs to.
    public var namespace: String
    /// Seconds since 1970, UTC.
    public var since: Int64

    public init(host: String, processID: Int32, start: UInt64, boot: String, namespace: String, since: Int64) {
        (self.host, self.processID, self.start) = (host, processID, start)
        (self.boot, self.namespace, self.since) = (boot, namespace, since)
    }

    /// This process, since now. Reads a few files of `/proc`, which never wait; nil where they are not there.
    public static func current() -> ProcessIdentity? {
        let process = ProcessInfo.processInfo
        guard case .started(let start) = state(of: process.processIdentifier), let (boot, namespace) = kernel else {
            return nil
        }
        return ProcessIdentity(
            host: String(process.hostName.prefix(64)), processID: process.processIdentifier, start: start, boot: boot,
            namespace: namespace, since: Int64(Date().timeIntervalSince1970))
    }

    /// Whether the process was one of this host and is gone. False where that cannot be known.
    public var isDead: Bool {
        guard isVisible else { return false }
        // A process of another user answers with EPERM.
        if kill(processID, 0) != 0, errno == ESRCH { return true }
        return switch Self.state(of: processID) {
        case .unknown: false
        case .zombie: true
        case .started(let time): time != start
        }
    }

    /// Whether the process is one of this host and runs. False where that cannot be known.
    public var isAlive: Bool { isVisible && Self.state(of: processID) == .started(start) }

    /// Whether it is this very process.
    public var isThisProcess: Bool { isAlive && processID == getpid() }

    /// Whether it ran before the host that it was on was started again. Only for a process that is known to be of this
    /// host: another one is always of another run.
    public var isOfEarlierBoot: Bool { Self.kernel.map { $0.boot != boot } ?? false }

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

extension ProcessIdentity: CustomStringConvertible {
    public var description: String {
        let time = Date(timeIntervalSince1970: TimeInterval(since)).formatted(.iso8601)
        return "pid \(processID) on \(host), since \(time)"
    }
}

extension ProcessIdentity: Codable {
    /// The six fields in their order, separated by spaces.
    public var text: String {
        "\(host.replacingOccurrences(of: " ", with: "-")) \(processID) \(start) \(boot) \(namespace) \(since)"
    }

    /// Nil for any other text.
    public init?(text: String) {
        let fields = text.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 6, let processID = Int32(fields[1]), let start = UInt64(fields[2]),
            let since = Int64(fields[5])
        else { return nil }
        self.init(
            host: String(fields[0]), processID: processID, start: start, boot: String(fields[3]),
            namespace: String(fields[4]), since: since)
    }

    /// One text.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let process = Self(text: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a process")
        }
        self = process
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
