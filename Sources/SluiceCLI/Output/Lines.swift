/// Names and values, one a line, with the values in a column that wraps at the terminal's edge.
struct Lines {
    private var lines: [(name: String, value: String)] = []

    mutating func add(_ name: String, _ value: String) { lines.append((name, value)) }

    func text(width: Int?) -> String {
        let indent = (lines.map(\.name.count).max() ?? 0) + 2
        let room = width.map { max(20, $0 - indent) } ?? .max
        return lines.map { name, value in
            let margin = "\n" + String(repeating: " ", count: indent)
            return name + String(repeating: " ", count: indent - name.count)
                + Self.wrap(value, room).joined(separator: margin)
        }.joined(separator: "\n")
    }

    private static func wrap(_ text: String, _ width: Int) -> [String] {
        if text.count <= width { return [text] }
        var lines = [""]
        for word in text.split(separator: " ") {
            let last = lines[lines.count - 1]
            if last.isEmpty {
                lines[lines.count - 1] = String(word)
            } else if last.count + 1 + word.count <= width {
                lines[lines.count - 1] += " \(word)"
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}
