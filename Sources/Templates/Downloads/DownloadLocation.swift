#if Downloads
    import BlockStorage
    import Foundation

    /// An `http:` or `https:` URL that never prints what may be secret in it.
    struct DownloadLocation: Hashable, Sendable, CustomStringConvertible {
        /// The URL to ask for, without user, password and fragment.
        let url: String
        let isSecure: Bool
        /// The scheme, host and port: to no other is a password sent.
        private let origin: String
        /// The last component of the path.
        let fileName: String
        /// What is sent as the `Authorization` header.
        let authorization: DownloadCredentials?
        /// The URL without what may be a secret in it.
        let description: String

        /// Longer ones are refused.
        static let largestByteCount = 8192

        /// Throws `notSupported` for other schemes and `invalidArgument` for what is no URL; neither repeats it.
        ///
        /// `credentials` take the place of a user and password in the URL.
        init(_ text: String, _ credentials: DownloadCredentials? = nil) throws(StorageError) {
            try self.init(text, credentials, base: nil)
        }

        private init(
            _ text: String, _ given: DownloadCredentials?, base: DownloadLocation?
        ) throws(StorageError) {
            func invalid(_ why: String) -> StorageError {
                // Nothing of it is repeated: a password may stand anywhere in what cannot be read.
                StorageError(.invalidArgument, "open template source", at: base?.description ?? "URL", why: why)
            }
            guard text.utf8.count <= Self.largestByteCount, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw invalid("a URL has at most \(Self.largestByteCount) characters, none of them a space")
            }
            let baseURL = base.flatMap { URL(string: $0.url) }
            guard let url = URL(string: text, relativeTo: baseURL)?.absoluteURL,
                var parts = URLComponents(url: url, resolvingAgainstBaseURL: true),
                let scheme = parts.scheme?.lowercased()
            else { throw invalid("this is no URL") }
            guard scheme == "http" || scheme == "https" else {
                throw StorageError(
                    .notSupported, "open template source", at: base?.description ?? "\(scheme):…",
                    why: base == nil
                        ? "only http and https" : "it leads to \(scheme):, and only http and https may follow")
            }
            guard let host = parts.host?.lowercased(), !host.isEmpty,
                parts.port.map({ (1...65535).contains($0) }) ?? true
            else { throw invalid("it names no host") }
            let credentials = parts.user.map { "\($0):\(parts.password ?? "")" }
            (parts.user, parts.password, parts.fragment, parts.scheme) = (nil, nil, nil, scheme)
            if parts.percentEncodedPath.isEmpty { parts.percentEncodedPath = "/" }
            guard let plain = parts.string else { throw invalid("this is no URL") }
            isSecure = scheme == "https"
            origin = "\(scheme)://\(host):\(parts.port ?? (isSecure ? 443 : 80))"
            self.url = plain
            fileName = parts.path.split(separator: "/").last.map(String.init) ?? ""
            // What follows a question mark is often a signature, and a redirect's user and password are the server's.
            let hasQuery = parts.percentEncodedQuery != nil
            parts.percentEncodedQuery = nil
            description = (parts.string ?? "\(scheme):…") + (hasQuery ? "?…" : "")
            if let base {
                authorization = base.origin == origin ? base.authorization : nil
            } else {
                authorization = given ?? credentials.map { DownloadCredentials(userAndPassword: $0) }
            }
        }

        /// Where a redirect to `target` leads. Throws `permissionDenied` where that would give up encryption, and
        /// `notSupported` where it leaves HTTP.
        func redirected(to target: String) throws(StorageError) -> DownloadLocation {
            let next = try DownloadLocation(target, nil, base: self)
            guard next.isSecure || !isSecure else {
                throw StorageError(
                    .permissionDenied, "download", at: description, why: "it redirects from https to http, to \(next)")
            }
            return next
        }
    }
#endif
