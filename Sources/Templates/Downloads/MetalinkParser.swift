#if Downloads
    import BlockStorage

    extension Metalink {
        private static let namespaces = ["urn:ietf:params:xml:ns:metalink", "http://www.metalinker.org/"]

        /// Reads a metalink. `place` is for messages.
        ///
        /// Throws `corrupt` for what is no metalink, `unsafeImage` for one that names a file of this host, carries a
        /// path or has a document type, and `notSupported` for one with several files or without a mirror on a web
        /// server.
        init(_ bytes: [UInt8], at place: String) throws(StorageError) {
            var parser = MetalinkParser(place: place)
            let reader = try XMLReader(bytes, at: place)
            while let event = try reader.next() { try parser.take(event, namespaces: Self.namespaces) }
            self = try parser.finish()
        }
    }

    /// What has been read of a metalink so far: a value that takes one part of the document after the other.
    private struct MetalinkParser {
        let place: String
        private var path: [String] = []
        private var text = ""
        private var attributes: [[String: String]] = []
        private var fileCount = 0
        private var name: String?
        private var size: UInt64?
        private var checksums: [Checksum] = []
        private var pieceAlgorithm: Checksum.Algorithm?
        private var pieceLength: UInt64?
        private var pieceChecksums: [Checksum] = []
        private var pieceSets: [SegmentPlan.Pieces] = []
        private var mirrors: [Metalink.Mirror] = []

        init(place: String) { self.place = place }

        private func refused(_ why: String, _ code: StorageError.Code = .corrupt) -> StorageError {
            StorageError(code, "read metalink", at: place, why: why)
        }

        mutating func take(_ event: XMLReader.Event, namespaces: [String]) throws(StorageError) {
            switch event {
            case .start(let element, let namespace, let values):
                // Other namespaces are extensions: passed over, with all that is in them.
                path.append(namespaces.contains(namespace) ? element : "")
                attributes.append(values)
                text = ""
                guard path.first == "metalink" else { throw refused("it is no metalink") }
                try begin(values)
            case .text(let part): text += part
            case .end:
                try end(text.trimmed, attributes.last ?? [:])
                path.removeLast()
                attributes.removeLast()
                text = ""
            }
        }

        /// Where the document is inside its file element; nil outside.
        private var inside: [String]? {
            guard let start = path.firstIndex(of: "file"),
                path[..<start] == ["metalink"] || path[..<start] == ["metalink", "files"]
            else { return nil }
            return Array(path[(start + 1)...])
        }

        private mutating func begin(_ values: [String: String]) throws(StorageError) {
            switch inside {
            case []:
                fileCount += 1
                guard fileCount == 1 else { throw refused("it describes several files", .notSupported) }
                guard let name = values["name"] else { throw refused("its file has no name") }
                let isPlain =
                    !name.isEmpty && name != "." && name != ".." && name.utf8.count <= 255
                    && name.utf8.allSatisfy {
                        $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\")
                    }
                guard isPlain else { throw refused("the name of its file leads elsewhere", .unsafeImage) }
                self.name = name
            case ["pieces"], ["verification", "pieces"]:
                pieceAlgorithm = values["type"].flatMap(Checksum.Algorithm.init(metalinkName:))
                pieceLength = values["length"].flatMap { UInt64($0) }
                pieceChecksums = []
            default: break
            }
        }

        private mutating func end(_ text: String, _ values: [String: String]) throws(StorageError) {
            switch inside {
            case ["size"]:
                guard let size = UInt64(text), size > 0 else { throw refused("the size of its file is no size") }
                self.size = size
            case ["hash"], ["verification", "hash"]:
                guard let algorithm = values["type"].flatMap(Checksum.Algorithm.init(metalinkName:)) else { return }
                checksums.append(try checksum(algorithm, text))
            case ["pieces", "hash"], ["verification", "pieces", "hash"]:
                guard let pieceAlgorithm else { return }
                // Version 3 numbers them.
                if let number = values["piece"], number != "\(pieceChecksums.count)" {
                    throw refused("its pieces are not in order")
                }
                pieceChecksums.append(try checksum(pieceAlgorithm, text))
            case ["pieces"], ["verification", "pieces"]:
                guard pieceAlgorithm != nil else { return }
                guard let pieceLength, pieceLength > 0, !pieceChecksums.isEmpty else {
                    throw refused("its pieces have no length, or there are none")
                }
                pieceSets.append(.init(length: pieceLength, checksums: pieceChecksums))
            case ["url"], ["resources", "url"]: try addMirror(text, values)
            default: break
            }
        }

        private func checksum(_ algorithm: Checksum.Algorithm, _ digits: String) throws(StorageError) -> Checksum {
            do throws(StorageError) {
                return try Checksum("\(algorithm.rawValue):\(digits)")
            } catch {
                throw refused(error.why)
            }
        }

        private mutating func addMirror(_ url: String, _ values: [String: String]) throws(StorageError) {
            let scheme = url.prefix { $0 != ":" }.lowercased()
            guard scheme != "file", !url.hasPrefix("/") else {
                throw refused("it names a file of this host", .unsafeImage)
            }
            guard mirrors.count < Metalink.largestMirrorCount else { throw refused("it names too many mirrors") }
            // Version 3 lists torrents and FTP servers in the same way.
            guard scheme == "http" || scheme == "https", values["type"].map({ ["http", "https"].contains($0) }) ?? true
            else { return }
            let location: DownloadLocation
            do throws(StorageError) {
                location = try DownloadLocation(url)
            } catch {
                throw refused("one of its URLs is none: \(error.why)")
            }
            let priority =
                if let text = values["priority"] {
                    Int(text) ?? Self.lowestPriority
                } else if let preference = values["preference"].flatMap({ Int($0) }) {
                    101 - min(100, max(0, preference))
                } else {
                    Self.lowestPriority
                }
            if mirrors.contains(where: { $0.location == location }) { return }
            mirrors.append(
                .init(location: location, priority: max(1, priority), country: values["location"]?.lowercased()))
        }

        /// Of a URL without one, as RFC 5854 has it.
        private static let lowestPriority = 999_999

        func finish() throws(StorageError) -> Metalink {
            guard let name else { throw refused("it is no metalink, or describes no file") }
            guard !mirrors.isEmpty else { throw refused("it names no mirror on a web server", .notSupported) }
            let pieces = pieceSets.max { $0.strength < $1.strength }
            if let pieces, let size { _ = try SegmentPlan(size: size, pieces: pieces) }
            return Metalink(
                fileName: name, size: size, checksum: checksums.max { $0.algorithm.byteCount < $1.algorithm.byteCount },
                pieces: pieces, mirrors: mirrors)
        }
    }

    extension SegmentPlan.Pieces {
        fileprivate var strength: Int { checksums.first?.algorithm.byteCount ?? 0 }
    }

    extension Checksum.Algorithm {
        /// `sha-256` as in version 4, or `sha256` as in version 3; nil for others.
        fileprivate init?(metalinkName name: String) {
            self.init(rawValue: name.lowercased().filter { $0 != "-" })
        }
    }

    extension String {
        /// Without white space at both ends.
        fileprivate var trimmed: String {
            String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        }
    }
#endif
