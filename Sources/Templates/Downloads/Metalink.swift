#if Downloads
    import BlockStorage

    /// A metalink of version 3 (`.metalink`) or 4 (`.meta4`, RFC 5854): one file, where it is, and what it adds up to.
    struct Metalink: Equatable, Sendable {
        struct Mirror: Equatable, Sendable {
            var location: DownloadLocation
            /// The lowest is the best, as in version 4.
            var priority: Int
            /// The ISO 3166 code of its country, in lower case.
            var country: String?
        }

        /// Without a path.
        var fileName: String
        /// In bytes.
        var size: UInt64?
        /// The strongest that is given and known here.
        var checksum: Checksum?
        var pieces: SegmentPlan.Pieces?
        /// In the order of the document: those on web servers.
        var mirrors: [Mirror]

        static let largestMirrorCount = 500

        static func isName(_ fileName: String) -> Bool {
            [".metalink", ".meta4"].contains(where: fileName.lowercased().hasSuffix)
        }

        /// The file, with its mirrors in the order in which to try them: by priority, and those of `country` first
        /// among equals.
        ///
        /// `isSecure` says that the metalink itself was encrypted: without a checksum, mirrors that are not are left
        /// out. Throws `notSupported` when none is left.
        func file(for country: String?, isSecure: Bool = false) throws(StorageError) -> DownloadFile {
            let here = country?.lowercased()
            let isVerified = checksum != nil || pieces != nil
            let usable = mirrors.enumerated().filter { isVerified || !isSecure || $1.location.isSecure }
            let sorted = usable.sorted { first, second in
                func rank(_ mirror: Mirror) -> Int { mirror.country == here && here != nil ? 0 : 1 }
                return (first.element.priority, rank(first.element), first.offset)
                    < (second.element.priority, rank(second.element), second.offset)
            }
            guard !sorted.isEmpty else {
                throw StorageError(
                    .notSupported, "read metalink", at: fileName, why: "it names no mirror that may be used")
            }
            return DownloadFile(
                name: fileName, locations: sorted.map(\.element.location), size: size, checksum: checksum,
                pieces: pieces)
        }
    }
#endif
