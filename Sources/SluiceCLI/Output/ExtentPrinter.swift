import BlockStorage

/// Prints extents while they arrive, so that memory does not grow with their number.
struct ExtentPrinter {
    private let isJSON: Bool
    private var count = 0
    /// Held back until it is known that the next one does not continue it.
    private var pending: Extent?

    init(isJSON: Bool) { self.isJSON = isJSON }

    mutating func print(_ extents: [Extent]) {
        var text = ""
        for extent in extents {
            if let last = pending, last.kind == extent.kind, last.range.upperBound == extent.range.lowerBound {
                pending = Extent(last.range.lowerBound..<extent.range.upperBound, last.kind)
            } else {
                writePending(to: &text)
                pending = extent
            }
        }
        Terminal.write(text)
    }

    mutating func finish() {
        var text = ""
        writePending(to: &text)
        if isJSON { text += count == 0 ? "{\n  \"extents\": []\n}\n" : "\n  ]\n}\n" }
        Terminal.write(text)
    }

    private mutating func writePending(to text: inout String) {
        guard let extent = pending else { return }
        let (offset, length) = (extent.range.lowerBound, extent.range.upperBound - extent.range.lowerBound)
        if isJSON {
            text += count == 0 ? "{\n  \"extents\": [\n" : ",\n"
            text += "    {\"offset\": \(offset), \"length\": \(length), \"kind\": \"\(extent.kind.rawValue)\"}"
        } else {
            if count == 0 { text += "\(column("OFFSET"))  \(column("LENGTH"))  KIND\n" }
            text += "\(column("\(offset)"))  \(column("\(length)"))  \(extent.kind.rawValue)\n"
        }
        count += 1
    }

    private func column(_ text: String) -> String {
        String(repeating: " ", count: max(0, 16 - text.count)) + text
    }
}
