#if Downloads
    import BlockStorage

    /// What the header of an answer says, as far as downloads go: a value, made from text.
    struct HTTPAnswer: Sendable {
        var status: Int
        /// Where the answer came from, after any redirects.
        var location: DownloadLocation
        var entityTag: String?
        var modifiedAt: String?
        /// Of the body that follows, in bytes.
        var contentLength: UInt64?
        var contentRange: ContentRange?
        /// The end of the body can be told from a cut connection.
        var hasEnd: Bool

        /// `bytes FIRST-LAST/TOTAL`, or `bytes */TOTAL`.
        struct ContentRange: Equatable, Sendable {
            /// Nil where the server says that it cannot give what was asked for.
            var bytes: Range<UInt64>?
            var total: UInt64?

            init?(_ text: String) {
                let parts = text.split(separator: " ", omittingEmptySubsequences: true)
                guard parts.count == 2, parts[0].lowercased() == "bytes" else { return nil }
                let sides = parts[1].split(separator: "/", omittingEmptySubsequences: false)
                guard sides.count == 2 else { return nil }
                total = UInt64(sides[1])
                guard total != nil || sides[1] == "*" else { return nil }
                if sides[0] == "*" { return }
                let ends = sides[0].split(separator: "-", omittingEmptySubsequences: false)
                guard ends.count == 2, let first = UInt64(ends[0]), let last = UInt64(ends[1]), first <= last,
                    last < total ?? .max
                else { return nil }
                bytes = first..<last + 1
            }
        }

        /// How to ask for a range of this version and no other; nil where the server gives no means for that.
        var ifRange: String? {
            if let entityTag { return entityTag.hasPrefix("W/") ? nil : entityTag }
            return modifiedAt
        }

        /// What an answer that is neither 200 nor 206 means.
        func statusFailure() -> StorageError {
            let code: StorageError.Code =
                switch status {
                case 401, 407: .authenticationFailed
                case 403: .permissionDenied
                case 404, 410: .notFound
                case 408, 504: .timedOut
                case 416: .conflict
                case 429, 503: .busy
                case 500...: .inputOutput
                default: .notSupported
                }
            return StorageError(code, "download", at: location.description, why: "the server answers \(status)")
        }
    }
#endif
