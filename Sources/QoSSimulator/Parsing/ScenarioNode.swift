import BlockStorage
import Yams

/// A value in a scenario file that knows where it stands.
struct ScenarioNode {
    let node: Node
    let file: String
    /// `volumes[0].workload`; empty for the whole file.
    let path: String

    /// The YAML document. Throws `invalidArgument` with the line for what is none.
    static func document(_ text: String, file: String) throws(StorageError) -> ScenarioNode {
        func error(_ why: String, line: Int) -> StorageError {
            StorageError(.invalidArgument, "read scenario", at: "\(file):\(line)", why: why)
        }
        guard text.utf8.count <= ScenarioFile.largestByteCount else {
            throw error("a scenario has at most 4 MiB", line: 1)
        }
        // What is named once and used many times grows without bound; policies and counts do what they are used for.
        if let line = lineOfAlias(text) {
            throw error("anchors and aliases (& and *) are not taken: name a policy, or set 'count'", line: line)
        }
        do {
            guard let node = try Yams.compose(yaml: text) else { throw error("the file is empty", line: 1) }
            return ScenarioNode(node: node, file: file, path: "")
        } catch let error as StorageError {
            throw error
        } catch let problem as YamlError {
            switch problem {
            case .scanner(_, let why, let mark, _), .parser(_, let why, let mark, _),
                .composer(_, let why, let mark, _):
                throw error("this is not YAML: \(why)", line: mark.line)
            case .duplicatedKeysInMapping(let duplicates, let context):
                throw error("the key '\(duplicates.first ?? "")' is given twice", line: context.mark.line)
            default: throw error("this is not YAML: \(problem)", line: 1)
            }
        } catch let problem {
            throw error("this is not YAML: \(problem)", line: 1)
        }
    }

    /// The first line with an anchor or alias outside of quotes and comments.
    private static func lineOfAlias(_ text: String) -> Int? {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            var quote: Character?
            var previous: Character = " "
            for character in line {
                if let open = quote {
                    if character == open { quote = nil }
                } else if character == "\"" || character == "'" {
                    quote = character
                } else if character == "#", previous == " " {
                    break
                } else if previous == "&" || previous == "*",
                    character.isLetter || character.isNumber || character == "_"
                {
                    return index + 1
                }
                // Within a word they mean nothing.
                let begins = previous.isWhitespace || "[{,:-!".contains(previous)
                previous = (character == "&" || character == "*") && !begins ? "x" : character
            }
        }
        return nil
    }

    var line: Int { node.mark?.line ?? 1 }

    /// What is wrong with the value.
    func error(_ why: String) -> StorageError {
        StorageError(
            .invalidArgument, "read scenario", at: "\(file):\(line)", why: path.isEmpty ? why : "\(path): \(why)")
    }

    /// The values of a list, or the value itself where it is none.
    var elements: [ScenarioNode] {
        guard case .sequence(let sequence) = node else { return [self] }
        return sequence.enumerated().map { ScenarioNode(node: $1, file: file, path: "\(path)[\($0)]") }
    }

    /// Of a list. Throws where it is none.
    func list() throws(StorageError) -> [ScenarioNode] {
        guard case .sequence = node else { throw error("a list is wanted: lines that begin with '-'") }
        return elements
    }

    /// The keys and values of a mapping; nil for anything else.
    var pairs: [(key: ScenarioNode, value: ScenarioNode)]? {
        guard case .mapping(let mapping) = node else { return nil }
        return mapping.map { key, value in
            let name = key.string ?? "?"
            return (
                ScenarioNode(node: key, file: file, path: path),
                ScenarioNode(node: value, file: file, path: path.isEmpty ? name : "\(path).\(name)")
            )
        }
    }

    /// The value of a key of a mapping; nil where there is none.
    func value(of key: String) -> ScenarioNode? { pairs?.first { $0.key.node.string == key }?.value }

    var isMapping: Bool { if case .mapping = node { true } else { false } }

    /// Of a single value.
    func text() throws(StorageError) -> String {
        guard case .scalar(let scalar) = node, !scalar.string.isEmpty else { throw error("a single value is wanted") }
        return scalar.string
    }

    private func quantity<Value>(_ read: (String) -> Value?, _ wanted: String) throws(StorageError) -> Value {
        let text = try text()
        guard let value = read(text) else { throw error("'\(text)' is not \(wanted)") }
        return value
    }

    func time() throws(StorageError) -> UInt64 {
        try quantity(Quantity.time, "a time, such as 200us, 10ms, 60s, 5min, 24h")
    }

    func positiveTime() throws(StorageError) -> UInt64 {
        let time = try time()
        guard time > 0 else { throw error("a time of more than nothing is wanted") }
        return time
    }

    func size() throws(StorageError) -> UInt64 { try quantity(Quantity.size, "a size, such as 4k, 64k, 1M, 10T") }

    func count(_ range: ClosedRange<UInt64>) throws(StorageError) -> UInt64 {
        let value = try quantity(Quantity.count, "a whole number, such as 32, 1500 or 400k")
        guard range.contains(value) else {
            throw error("\(value) is not between \(range.lowerBound) and \(range.upperBound)")
        }
        return value
    }

    func percent(_ range: ClosedRange<UInt64> = 0...100) throws(StorageError) -> UInt64 {
        let value = try quantity(Quantity.percent, "a percentage, such as 70%")
        guard range.contains(value) else {
            throw error("\(value) % is not between \(range.lowerBound) % and \(range.upperBound) %")
        }
        return value
    }

    func flag() throws(StorageError) -> Bool {
        try quantity({ ["true": true, "yes": true, "false": false, "no": false][$0] }, "true or false")
    }

    func choice<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) throws(StorageError) -> Choice
    where Choice.RawValue == String {
        let text = try text()
        guard let choice = Choice(rawValue: text) else {
            let names = Choice.allCases.map(\.rawValue)
            throw error("'\(text)' is not known" + Suggestion.text(for: text, among: names))
        }
        return choice
    }

    /// A name of one line that is fit to print.
    func name() throws(StorageError) -> String {
        let text = try text()
        guard text.utf8.count <= 200, text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
            throw error("a name has one line of up to 200 bytes")
        }
        return text
    }

    /// `60s..120s`.
    func interval() throws(StorageError) -> Range<UInt64> {
        try quantity(
            { text in
                guard let dots = text.firstRange(of: "..") else { return nil }
                let start = text[..<dots.lowerBound].trimmingSpaces, end = text[dots.upperBound...].trimmingSpaces
                guard let lower = Quantity.time(start), let upper = Quantity.time(end), lower < upper else {
                    return nil
                }
                return lower..<upper
            }, "an interval, such as 60s..120s")
    }
}

extension Substring {
    fileprivate var trimmingSpaces: String {
        var text = drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}

/// The keys of a mapping, of which none is unknown.
struct ScenarioMapping {
    let node: ScenarioNode
    private var values: [String: ScenarioNode] = [:]

    /// Throws `invalidArgument` for what is no mapping, and for a key that is not in `keys`, with the nearest that is.
    init(_ node: ScenarioNode, keys: [String]) throws(StorageError) {
        self.node = node
        guard let pairs = node.pairs else {
            throw node.error("keys and values are wanted: \(keys.prefix(8).joined(separator: ", "))")
        }
        for (key, value) in pairs {
            let name = key.node.string ?? ""
            guard keys.contains(name) else {
                throw ScenarioNode(node: key.node, file: node.file, path: value.path)
                    .error("there is no such key here" + Suggestion.text(for: name, among: keys))
            }
            values[name] = value
        }
    }

    /// Nil where the key is not given, or has no value.
    subscript(_ key: String) -> ScenarioNode? {
        guard let value = values[key] else { return nil }
        if case .scalar(let scalar) = value.node,
            scalar.string.isEmpty || scalar.string == "~" || scalar.string == "null"
        {
            return nil
        }
        return value
    }

    func required(_ key: String) throws(StorageError) -> ScenarioNode {
        guard let value = self[key] else { throw node.error("the key '\(key)' is missing") }
        return value
    }
}

/// What somebody may have meant.
enum Suggestion {
    /// `; did you mean 'depth'?`, or all there are where nothing is near.
    static func text(for word: String, among words: [String]) -> String {
        let near = words.map { (word: $0, distance: distance(word.lowercased(), $0.lowercased())) }
            .min { ($0.distance, $0.word) < ($1.distance, $1.word) }
        if let near, near.distance <= max(2, word.count / 3) { return "; did you mean '\(near.word)'?" }
        if words.isEmpty { return "" }
        let shown = words.prefix(16).joined(separator: ", ")
        return "; there is \(shown)\(words.count > 16 ? " and more" : "")"
    }

    /// How many letters have to change.
    private static func distance(_ left: String, _ right: String) -> Int {
        let (left, right) = (Array(left.prefix(64)), Array(right.prefix(64)))
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var previous = row[0]
            row[0] = index + 1
            for (other, candidate) in right.enumerated() {
                let replaced = previous + (letter == candidate ? 0 : 1)
                previous = row[other + 1]
                row[other + 1] = min(replaced, row[other] + 1, row[other + 1] + 1)
            }
        }
        return row[right.count]
    }
}
