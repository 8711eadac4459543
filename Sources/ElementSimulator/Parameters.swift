/// The parameters of one call: each is taken by its name and type, and none may be left over.
struct Parameters {
    private let values: [String: JSONValue]
    private var taken: Set<String> = []

    /// A parameter that is null is one that is absent.
    init(_ values: [String: JSONValue]) { self.values = values.filter { $0.value != .null } }

    /// Throws `xMissingParameter` or `xInvalidParameterType`.
    mutating func required<Value: ParameterValue>(_ name: String) throws(ElementError) -> Value {
        guard let value: Value = try optional(name) else { throw .missing(name) }
        return value
    }

    /// Throws `xInvalidParameterType`.
    mutating func optional<Value: ParameterValue>(_ name: String) throws(ElementError) -> Value? {
        taken.insert(name)
        guard let json = values[name] else { return nil }
        guard let value = Value(json) else { throw .mistyped(name, Value.typeName) }
        return value
    }

    /// A text that is one of an enumeration's; throws `xUnrecognizedEnumString` for another.
    mutating func choice<Value: RawRepresentable>(
        _ name: String, as type: Value.Type = Value.self
    ) throws(ElementError) -> Value? where Value.RawValue == String {
        guard let text: String = try optional(name) else { return nil }
        guard let value = Value(rawValue: text) else { throw .unrecognized(name, text) }
        return value
    }

    /// Whether a parameter is there, whatever it is.
    func has(_ name: String) -> Bool { values[name] != nil }

    /// Parameters that exist, and that the simulator makes nothing of.
    mutating func ignore(_ names: String...) { taken.formUnion(names) }

    /// Throws `xInvalidParameter` for those that nobody asked for.
    func finish() throws(ElementError) {
        let unknown = values.keys.filter { !taken.contains($0) }.sorted()
        guard unknown.isEmpty else { throw .invalid("Unrecognized member=[\(unknown.joined(separator: ", "))]") }
    }
}

/// A type that a parameter can have.
protocol ParameterValue {
    static var typeName: String { get }
    init?(_ json: JSONValue)
}

extension Int: ParameterValue {
    static var typeName: String { "an integer" }

    init?(_ json: JSONValue) {
        switch json {
        case .integer(let value): self = value
        case .number(let value):
            guard let exact = Int(exactly: value) else { return nil }
            self = exact
        default: return nil
        }
    }
}

extension Double: ParameterValue {
    static var typeName: String { "a number" }

    init?(_ json: JSONValue) {
        switch json {
        case .integer(let value): self = Double(value)
        case .number(let value): self = value
        default: return nil
        }
    }
}

extension String: ParameterValue {
    static var typeName: String { "a string" }

    init?(_ json: JSONValue) {
        guard case .string(let value) = json else { return nil }
        self = value
    }
}

extension Bool: ParameterValue {
    static var typeName: String { "true or false" }

    init?(_ json: JSONValue) {
        guard case .bool(let value) = json else { return nil }
        self = value
    }
}

extension Array: ParameterValue where Element: ParameterValue {
    static var typeName: String { "an array, each element \(Element.typeName)" }

    init?(_ json: JSONValue) {
        guard case .array(let values) = json else { return nil }
        let elements = values.compactMap { Element($0) }
        guard elements.count == values.count else { return nil }
        self = elements
    }
}

extension Dictionary: ParameterValue where Key == String, Value == JSONValue {
    static var typeName: String { "an object" }

    init?(_ json: JSONValue) {
        guard case .object(let members) = json else { return nil }
        self = members
    }
}
