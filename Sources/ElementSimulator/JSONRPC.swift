import Foundation

/// One request of the array's remote procedure calls: a method, its parameters, and what identifies the answer.
struct JSONRPCRequest: Equatable {
    var method: String
    var parameters: [String: JSONValue]
    /// Returned as it came.
    var id: JSONValue

    /// The body of a POST. Throws for what is no such request.
    init(body: [UInt8]) throws(ElementError) {
        guard let json = JSONValue(parsing: body), case .object(let members) = json else {
            // Assumed.
            throw ElementError("xJSONParseError", "The request is no JSON object", code: 400)
        }
        switch members["id"] ?? .null {
        case .array, .object: throw .mistyped("id", "a number or a string")
        case let id: self.id = id
        }
        var parameters = Parameters(members)
        method = try parameters.required("method")
        self.parameters = try parameters.optional("params") ?? [:]
    }

    /// The query of a GET: the method, and each parameter as JSON, or as text where it is none.
    init(query: String) throws(ElementError) {
        id = .null
        var values: [String: JSONValue] = [:]
        for item in query.split(separator: "&") {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let texts = parts.map { $0.replacing("+", with: " ").removingPercentEncoding }
            guard let name = texts.first ?? nil, let value = (texts.count == 2 ? texts[1] : "") else {
                throw .invalid("The query is not encoded as a query is")
            }
            values[name] = JSONValue(parsing: Array(value.utf8)) ?? .string(value)
        }
        guard case .string(let method)? = values.removeValue(forKey: "method") else { throw .missing("method") }
        self.method = method
        parameters = values
    }

    static func body(_ answer: Result<JSONValue, ElementError>, id: JSONValue) -> [UInt8] {
        let body: JSONValue =
            switch answer {
            case .success(let result): ["id": id, "result": result]
            case .failure(let error): ["id": id, "error": error.json]
            }
        return body.bytes
    }
}
