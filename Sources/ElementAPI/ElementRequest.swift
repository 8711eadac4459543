#if ISCSI
    import BlockStorage
    import Foundation

    /// A value that a method of the array takes.
    enum ElementParameter: Encodable, Sendable {
        case integer(Int64)
        case count(UInt64)
        case text(String)
        case flag(Bool)
        case integers([Int64])
        case texts([String])
        case qos(ElementQoS)
        case attributes(ElementAttributes)
        case secret(Secret)

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .integer(let value): try container.encode(value)
            case .count(let value): try container.encode(value)
            case .text(let value): try container.encode(value)
            case .flag(let value): try container.encode(value)
            case .integers(let value): try container.encode(value)
            case .texts(let value): try container.encode(value)
            case .qos(let value): try container.encode(value)
            case .attributes(let value): try container.encode(value)
            case .secret(let value): try value.reveal { try container.encode($0) }
            }
        }
    }

    typealias ElementParameters = [String: ElementParameter]

    struct ElementRequest: Encodable, Sendable {
        var method: String
        var params: ElementParameters
        var id: Int64
    }

    extension JSONEncoder {
        /// As short as can be: the array counts the bytes of attributes.
        static var element: JSONEncoder {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .withoutEscapingSlashes
            return encoder
        }
    }

    /// What the array answers: a result, or why there is none.
    struct ElementAnswer<Result: Decodable>: Decodable {
        var id: Int64?
        var result: Result?
        var error: ElementRefusal?
    }

    /// The result of a method that has none worth reading.
    struct ElementNothing: Decodable, Sendable {
        init() {}
        init(from decoder: any Decoder) throws {}
    }
#endif
