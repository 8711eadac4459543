#if ISCSI
    import BlockStorage

    /// A version of the array's interface, as it stands in its URLs.
    struct ElementVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
        var major: Int
        var minor: Int

        /// What this client is written for.
        static let newest = ElementVersion(major: 12, minor: 3)
        /// The first with all methods that it uses.
        static let oldest = ElementVersion(major: 9, minor: 0)
        /// Where an array is asked which versions it has; every one answers there.
        static let first = ElementVersion(major: 7, minor: 0)

        var description: String { "\(major).\(minor)" }
        /// Where this version's methods are.
        var path: String { "/json-rpc/\(self)/" }

        static func < (left: Self, right: Self) -> Bool { (left.major, left.minor) < (right.major, right.minor) }

        /// The newest of what an array has that this client knows; nil where there is none.
        static func best(of versions: some Sequence<ElementVersion>) -> ElementVersion? {
            versions.filter { (oldest...newest).contains($0) }.max()
        }
    }

    extension ElementVersion: Decodable {
        /// Arrays write versions as numbers and as text.
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            let text = try (try? container.decode(String.self)) ?? "\(container.decode(Double.self))"
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), let major = Int(parts[0]),
                let minor = Int(parts.count > 1 ? parts[1] : "0"),
                major >= 0, minor >= 0
            else { throw DecodingError.dataCorruptedError(in: container, debugDescription: "this is no version") }
            (self.major, self.minor) = (major, minor)
        }
    }

    /// What `GetAPI` answers.
    struct ElementVersions: Decodable, Sendable {
        var supportedVersions: [ElementVersion]
    }
#endif
