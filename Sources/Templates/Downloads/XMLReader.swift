#if Downloads
    import BlockStorage
    import CXML

    /// Reads a small XML document from the beginning to the end, through libxml2.
    ///
    /// It loads nothing and replaces nothing: a document type, and with it every entity that a document could define,
    /// is refused. Not safe for concurrent calls.
    @safe
    final class XMLReader {
        enum Event: Equatable {
            /// An element begins. Its own name, the namespace that it is in, and its attributes by their own names.
            case start(String, namespace: String, attributes: [String: String])
            case text(String)
            case end(String)
        }

        private static let elementType: Int32 = 1
        private static let textType: Int32 = 3
        private static let charactersType: Int32 = 4
        private static let entityType: Int32 = 5
        private static let documentType: Int32 = 10
        private static let elementEndType: Int32 = 15

        // Sound: owned by this object alone, from `init` to `deinit`, as is the memory that it reads.
        private let reader: xmlTextReaderPtr
        private let memory: UnsafeMutableBufferPointer<CChar>
        private let place: String
        /// The end of an element that has no content, which libxml2 does not report.
        private var pending: Event?

        /// `place` is for messages.
        init(_ bytes: [UInt8], at place: String) throws(StorageError) {
            self.place = place
            unsafe memory = .allocate(capacity: max(1, bytes.count))
            for (index, byte) in bytes.enumerated() { unsafe memory[index] = CChar(bitPattern: byte) }
            let options = XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue
            let opened = unsafe xmlReaderForMemory(
                memory.baseAddress, Int32(clamping: bytes.count), nil, nil, Int32(options))
            guard let reader = unsafe opened else {
                unsafe memory.deallocate()
                throw StorageError(.internalError, "read XML", at: place, why: "out of memory")
            }
            unsafe self.reader = reader
        }

        deinit {
            unsafe xmlFreeTextReader(reader)
            unsafe memory.deallocate()
        }

        /// The next part of the document; nil at its end. Throws `corrupt` for what is not well-formed, and
        /// `unsafeImage` for a document type.
        func next() throws(StorageError) -> Event? {
            if let event = pending {
                pending = nil
                return event
            }
            while true {
                let result = unsafe xmlTextReaderRead(reader)
                guard result != 0 else { return nil }
                guard result == 1 else {
                    throw StorageError(.corrupt, "read metalink", at: place, why: "it is no well-formed XML")
                }
                switch unsafe xmlTextReaderNodeType(reader) {
                case Self.elementType: return start()
                case Self.textType, Self.charactersType:
                    return .text(unsafe Self.string(xmlTextReaderConstValue(reader)))
                case Self.elementEndType: return .end(unsafe Self.string(xmlTextReaderConstLocalName(reader)))
                case Self.documentType, Self.entityType:
                    throw StorageError(
                        .unsafeImage, "read metalink", at: place, why: "it has a document type, which no metalink needs"
                    )
                default: break
                }
            }
        }

        private func start() -> Event {
            let name = unsafe Self.string(xmlTextReaderConstLocalName(reader))
            let namespace = unsafe Self.string(xmlTextReaderConstNamespaceUri(reader))
            if unsafe xmlTextReaderIsEmptyElement(reader) == 1 { pending = .end(name) }
            var attributes: [String: String] = [:]
            while unsafe xmlTextReaderMoveToNextAttribute(reader) == 1 {
                guard unsafe xmlTextReaderIsNamespaceDecl(reader) != 1 else { continue }
                let name = unsafe Self.string(xmlTextReaderConstLocalName(reader))
                attributes[name] = unsafe Self.string(xmlTextReaderConstValue(reader))
            }
            return .start(name, namespace: namespace, attributes: attributes)
        }

        /// Sound: libxml2's strings end with a zero and live until the next call.
        private static func string(_ text: UnsafePointer<xmlChar>?) -> String {
            guard let text = unsafe text else { return "" }
            return unsafe String(decodingCString: text, as: UTF8.self)
        }
    }
#endif
