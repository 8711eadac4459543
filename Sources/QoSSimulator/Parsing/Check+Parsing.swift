import BlockStorage

extension Check {
    init(_ node: ScenarioNode, file: ScenarioFile) throws(StorageError) {
        let keys = try ScenarioMapping(node, keys: ScenarioKeys.check)
        self.init(try keys.required("metric").choice(Metric.self))
        line = node.line
        volume = try keys["volume"]?.text()
        if let value = keys["run"] {
            let name = try value.text()
            guard file.runs.contains(where: { $0.name == name }) else {
                throw value.error(
                    "there is no run '\(name)'" + Suggestion.text(for: name, among: file.runs.map(\.name)))
            }
            run = name
        }
        if let value = keys["during"] {
            let interval = try value.interval()
            (start, end) = (interval.lowerBound, interval.upperBound)
        }
        atLeast = try keys["at-least"].map { node throws(StorageError) in try value(node) }
        atMost = try keys["at-most"].map { node throws(StorageError) in try value(node) }
        if let node = keys["about"] {
            guard atLeast == nil, atMost == nil else { throw node.error("'about' stands alone") }
            let value = try value(node)
            let tolerance = Double(try keys["tolerance"]?.percent() ?? 2) / 100
            (atLeast, atMost) = (value * (1 - tolerance), value * (1 + tolerance))
        }
        guard atLeast != nil || atMost != nil else { throw node.error("one of at-least, at-most and about is wanted") }
        if let atLeast, let atMost, atLeast > atMost { throw node.error("at-least is more than at-most") }
    }

    /// A figure in the metric's unit.
    private func value(_ node: ScenarioNode) throws(StorageError) -> Double {
        let text = try node.text()
        switch metric.unit {
        case "ns": return Double(try node.time())
        case "s":
            if let time = Quantity.time(text) { return Double(time) / 1e9 }
        case "B/s": return Double(try node.size())
        case "%":
            if let value = Quantity.figure(text, isPercentage: true) { return value }
        default:
            if let value = Quantity.figure(text) { return value }
        }
        throw node.error("'\(text)' is not a figure for \(metric.rawValue), which is in \(metric.unit)")
    }
}
