import BlockStorage

/// A target, as tgtd lists it.
public struct TGTTarget: Equatable, Sendable {
    /// A unit of it.
    public struct Unit: Equatable, Sendable {
        public var number: UInt64
        /// The file or block device; nil for tgtd's own.
        public var path: String?
        public var identity: String?
    }

    public var number: Int32
    public var name: String
    public var units: [Unit] = []
    /// The names of the initiators that are logged in.
    public var initiators: [String] = []
    /// Whose secrets it asks for, and (with ` (outgoing)` behind) proves itself with.
    public var accounts: [String] = []
    /// Addresses, networks and initiators' names that are let in.
    public var rules: [String] = []

    /// A target with nothing in it.
    public init(number: Int32, name: String) { (self.number, self.name) = (number, name) }

    /// What is written for people, in lines indented by four spaces a level.
    ///
    /// An initiator chooses its own name, and may have put lines of its own in there. What it can forge so is a target
    /// whose number nobody has: throws `inputOutput` where two have one number or one name.
    static func list(_ text: String, at place: String) throws(StorageError) -> [TGTTarget] {
        var targets: [TGTTarget] = []
        var section = Substring()
        for line in text.split(separator: "\n") {
            let words = line.drop { $0 == " " }
            let level = (line.count - words.count) / 4
            if level == 0 {
                guard let target = TGTTarget(words) else { continue }
                targets.append(target)
                section = ""
                continue
            }
            if targets.isEmpty { continue }
            if level == 1 {
                section = words
            } else {
                targets[targets.count - 1].take(words, level, of: section)
            }
        }
        guard Set(targets.map(\.number)).count == targets.count, Set(targets.map(\.name)).count == targets.count else {
            throw StorageError(.inputOutput, "list targets", at: place, why: "a target is listed twice")
        }
        return targets
    }

    /// `Target 1: iqn.…`
    private init?(_ words: Substring) {
        guard words.hasPrefix("Target "), let colon = words.firstIndex(of: ":"),
            let number = Int32(words[..<colon].dropFirst(7)), number > 0
        else { return nil }
        self.number = number
        name = String(words[words.index(after: colon)...].drop { $0 == " " })
    }

    private mutating func take(_ words: Substring, _ level: Int, of section: Substring) {
        func value(_ key: String) -> String? {
            words.hasPrefix("\(key): ") ? String(words.dropFirst(key.count + 2)) : nil
        }
        switch section {
        case "I_T nexus information:":
            guard level == 3, let initiator = value("Initiator") else { return }
            initiators.append(initiator.split(separator: " ").first.map(String.init) ?? initiator)
        case "LUN information:":
            if level == 2, let number = value("LUN").flatMap({ UInt64($0) }) {
                units.append(Unit(number: number))
            } else if level == 3, !units.isEmpty {
                if let path = value("Backing store path"), path != "None" { units[units.count - 1].path = path }
                if let identity = value("SCSI ID") { units[units.count - 1].identity = identity }
            }
        case "Account information:": accounts.append(String(words))
        case "ACL information:": rules.append(String(words))
        default: break
        }
    }
}

/// Whom a target lets in.
public enum TGTInitiator: Equatable, Sendable {
    case all
    /// An IP address, or a network in CIDR form.
    case address(String)
    /// An initiator's name.
    case name(String)

    var parameter: (name: String, value: String) {
        switch self {
        case .all: ("initiator-address", "ALL")
        case .address(let address): ("initiator-address", address)
        case .name(let name): ("initiator-name", name)
        }
    }
}

/// A connection of a session.
public struct TGTConnection: Equatable, Sendable {
    /// The session's number at its target.
    public var session: UInt64
    /// The connection's number in its session.
    public var number: UInt32
    /// The initiator's name.
    public var initiator: String
    /// Where it comes from.
    public var address: String?

    static func list(_ text: String) -> [TGTConnection] {
        var list: [TGTConnection] = []
        var session: UInt64?
        for line in text.split(separator: "\n") {
            let words = line.drop { $0 == " " }
            let parts = words.split(separator: ":", maxSplits: 1).map { $0.drop { $0 == " " } }
            guard parts.count == 2 else { continue }
            switch parts[0] {
            case "Session": session = UInt64(parts[1])
            case "Connection":
                if let session, let number = UInt32(parts[1]) {
                    list.append(TGTConnection(session: session, number: number, initiator: ""))
                }
            case "Initiator":
                if !list.isEmpty { list[list.count - 1].initiator = String(parts[1]) }
            case "IP Address":
                if !list.isEmpty { list[list.count - 1].address = String(parts[1]) }
            default: break
            }
        }
        return list
    }
}
