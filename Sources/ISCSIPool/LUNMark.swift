#if ISCSI
    import BlockStorage
    import Foundation

    /// What the pool knows of a unit beyond its bytes, kept with it at the array: that it is a volume or a template, in
    /// which format, what it was cloned from, and who is at work on it.
    ///
    /// As JSON it has at most `largestByteCount` bytes: arrays keep no more.
    public struct LUNMark: Sendable, Equatable, Codable {
        /// What the unit is for.
        public enum Kind: String, Sendable, Codable { case volume, template }

        /// Where it is in its life. Only what is ready is visible.
        public enum Phase: String, Sendable, Codable { case building, ready, deleting }

        /// A unit that this one was cloned from, and its snapshot.
        public struct Source: Sendable, Equatable, Codable {
            public var unit: LUN.ID
            public var snapshot: String?

            public init(unit: LUN.ID, snapshot: String? = nil) { (self.unit, self.snapshot) = (unit, snapshot) }

            enum CodingKeys: String, CodingKey {
                case unit = "u"
                case snapshot = "s"
            }
        }

        /// Who has a unit open for writing. The reservation decides; this is how a dead process is told from others.
        public struct Holder: Sendable, Equatable, Codable {
            public var process: ProcessIdentity
            /// Its initiator's name: at most the last 100 signs of it.
            public var initiator: String

            public init(_ process: ProcessIdentity, initiator: String) {
                (self.process, self.initiator) = (process, String(initiator.suffix(100)))
            }

            enum CodingKeys: String, CodingKey {
                case process = "w"
                case initiator = "i"
            }
        }

        /// The volume's name. Arrays allow fewer signs, and fewer of them.
        public var name: String
        public var kind: Kind
        public var phase: Phase
        public var format: VolumeFormat
        public var provisioning: ProvisioningType
        /// In bytes, of an image on the unit; nil for the unit's own.
        public var virtualSize: UInt64?
        public var source: Source?
        /// What marks this making or changing, and nothing else: by it a call is found whose answer was lost.
        public var ticket: String?
        /// The process that makes or changes it.
        public var process: ProcessIdentity?
        /// Which initiator that process is, by `tag`.
        public var host: String?
        /// The process that has it open for writing, and by which initiator.
        public var holder: Holder?
        /// The name that it is about to get.
        public var newName: String?
        /// The room that it is about to take beside what it has, in bytes.
        public var promisedBytes: UInt64?
        /// By how much its minimum is about to rise.
        public var promisedIOPS: UInt64?
        /// True while it is rolled back to a snapshot: nobody may open it then.
        public var isReverting: Bool?

        public init(
            name: String, kind: Kind = .volume, phase: Phase = .ready, format: VolumeFormat = .raw,
            provisioning: ProvisioningType = .thin
        ) {
            (self.name, self.kind, self.phase) = (name, kind, phase)
            (self.format, self.provisioning) = (format, provisioning)
        }

        enum CodingKeys: String, CodingKey {
            case name = "n"
            case kind = "k"
            case phase = "p"
            case format = "f"
            case provisioning = "a"
            case virtualSize = "v"
            case source = "s"
            case ticket = "t"
            case process = "w"
            case host = "d"
            case holder = "h"
            case newName = "r"
            case promisedBytes = "b"
            case promisedIOPS = "i"
            case isReverting = "o"
        }

        /// What tells an initiator from others, in 16 signs.
        public static func tag(_ initiator: String) -> String {
            // FNV-1a: the same on every host and for ever.
            let hash = initiator.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
            let digits = String(hash, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }

        /// Whether it says of the unit that nobody may use it, by what is being done to it.
        var isLocking: Bool { phase == .deleting || isReverting == true }

        /// Of the JSON text.
        public static let largestByteCount = 940

        /// JSON on one line, its keys sorted. Throws `invalidArgument` where it would be too long.
        public func text() throws(StorageError) -> String {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            guard let data = try? encoder.encode(self), data.count <= Self.largestByteCount else {
                throw StorageError(
                    .invalidArgument, "mark unit", at: name,
                    why: "the names are too long together for what an array keeps of a unit")
            }
            return String(decoding: data, as: UTF8.self)
        }

        /// Nil for any other text, and for names that no volume has.
        public init?(_ text: String) {
            guard text.utf8.count <= 2 * Self.largestByteCount,
                let mark = try? JSONDecoder().decode(Self.self, from: Data(text.utf8)),
                [mark.name, mark.newName ?? "a"].allSatisfy(VolumeName.isValid)
            else { return nil }
            self = mark
        }
    }
#endif
