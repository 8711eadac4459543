#if ISCSI
    import BlockStorage
    import Foundation

    /// Names and values that the array keeps with an object and does not interpret: a JSON object.
    public struct ElementAttributes: Hashable, Sendable {
        /// Any JSON. Others may have put more than text there.
        public enum Value: Hashable, Sendable {
            case null
            case flag(Bool)
            case integer(Int64)
            case number(Double)
            case text(String)
            case list([Value])
            case object([String: Value])
        }

        /// The array wants fewer bytes than this, in JSON.
        public static let byteLimit = 1000

        public var values: [String: Value]

        public init(_ values: [String: Value] = [:]) { self.values = values }

        /// The text that stands under a name; nil where there is none, or something else.
        public subscript(name: String) -> String? {
            get { if case .text(let text)? = values[name] { text } else { nil } }
            set { values[name] = newValue.map { .text($0) } }
        }

        /// Throws `invalidArgument` where the array would.
        func check(_ what: String, at place: String) throws(StorageError) {
            let count = (try? JSONEncoder.element.encode(self).count) ?? .max
            guard count < Self.byteLimit else {
                throw StorageError(
                    .invalidArgument, what, at: place,
                    why: "its attributes have \(count) bytes, and the array keeps fewer than \(Self.byteLimit)")
            }
        }

        /// Whether everything in `other` is here too, and the same.
        func contains(_ other: ElementAttributes) -> Bool {
            other.values.allSatisfy { values[$0] == $1 }
        }
    }

    extension ElementAttributes: ExpressibleByDictionaryLiteral {
        public init(dictionaryLiteral elements: (String, Value)...) {
            self.init(Dictionary(elements) { $1 })
        }
    }

    extension ElementAttributes.Value: ExpressibleByStringLiteral {
        public init(stringLiteral text: String) { self = .text(text) }
    }

    extension ElementAttributes: Codable {
        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            values = container.decodeNil() ? [:] : try container.decode([String: Value].self)
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            try container.encode(values)
        }
    }

    extension ElementAttributes.Value: Codable {
        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let value = try? container.decode(Bool.self) {
                self = .flag(value)
            } else if let value = try? container.decode(Int64.self) {
                self = .integer(value)
            } else if let value = try? container.decode(Double.self) {
                self = .number(value)
            } else if let value = try? container.decode(String.self) {
                self = .text(value)
            } else if let value = try? container.decode([Self].self) {
                self = .list(value)
            } else {
                self = .object(try container.decode([String: Self].self))
            }
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .null: try container.encodeNil()
            case .flag(let value): try container.encode(value)
            case .integer(let value): try container.encode(value)
            case .number(let value): try container.encode(value)
            case .text(let value): try container.encode(value)
            case .list(let value): try container.encode(value)
            case .object(let value): try container.encode(value)
            }
        }
    }
#endif
