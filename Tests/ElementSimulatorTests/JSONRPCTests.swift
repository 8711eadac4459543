import Testing

@testable import ElementSimulator

@Suite("Requests to a simulated array")
struct JSONRPCTests {
    @Test(
        "What is no request has an error",
        arguments: [
            "", "null", "[]", "1", "{", "{\"method\":1}", "{\"params\":{}}", "{\"method\":\"A\",\"params\":[]}",
            "{\"method\":\"A\",\"id\":{}}", "{\"method\":\"A\"} x", "\u{0}",
        ])
    func malformed(text: String) {
        #expect(throws: ElementError.self) { try JSONRPCRequest(body: Array(text.utf8)) }
    }

    @Test("Nesting is bounded, wherever it is, and brackets in texts are no nesting")
    func nesting() throws {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = String(repeating: open, count: 200_000) + "1" + String(repeating: close, count: 200_000)
            let request = "{\"method\":\"A\",\"params\":{\"a\":\(deep)}}"
            #expect(throws: ElementError.self) { try JSONRPCRequest(body: Array(request.utf8)) }
        }
        let text = String(repeating: "[", count: 1000) + "\\\""
        let request = try JSONRPCRequest(body: Array("{\"method\":\"A\",\"params\":{\"a\":\"\(text)\"}}".utf8))
        #expect(request.parameters["a"] == .string(String(repeating: "[", count: 1000) + "\""))
    }

    @Test("The parameters of a GET are JSON, or else texts")
    func query() throws {
        let request = try JSONRPCRequest(query: "method=ListVolumes&limit=2&volumeName=a%20b&accounts=%5B1%2C2%5D")
        #expect(request.method == "ListVolumes")
        #expect(request.parameters == ["limit": 2, "volumeName": "a b", "accounts": [1, 2]])
        #expect(throws: ElementError.self) { try JSONRPCRequest(query: "limit=2") }
        #expect(throws: ElementError.self) { try JSONRPCRequest(query: "method=%ZZ") }
    }

    @Test("Numbers, truths and texts are told apart, and come back as they went")
    func values() {
        let text = #"{"a":[0,1,true,false,null,1.5,"1","\u00e9"],"b":{"c":-9007199254740993}}"#
        let value = JSONValue(parsing: Array(text.utf8))
        #expect(
            value == [
                "a": [0, 1, true, false, nil, .number(1.5), "1", "é"], "b": ["c": -9_007_199_254_740_993],
            ])
        #expect(value.map { JSONValue(parsing: $0.bytes) } == value)
    }
}
