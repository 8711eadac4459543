/// Rows and columns as text, for people: as narrow as their contents, and never wider than the terminal.
struct TextTable {
    struct Column {
        var title: String
        var isNumber: Bool

        /// A column of names and words.
        static func text(_ title: String) -> Column { Column(title: title, isNumber: false) }
        /// A column of numbers, which line up at the right.
        static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
    }

    private static let separator = "  "
    private static let narrowest = 8

    private let columns: [Column]
    private var rows: [[String]] = []

    init(_ columns: Column...) { self.columns = columns }

    mutating func add(_ cells: String...) {
        // One line a row, whatever a name in the storage holds.
        rows.append(
            cells.map { cell in
                cell.isPrintableASCII ? cell : String(cell.map { $0.isNewline || $0 == "\t" ? " " : $0 })
            })
    }

    /// The table with its titles. Where it would be wider than `width`, the widest column of words is cut with `…`.
    func text(width: Int?) -> String {
        let all = [columns.map(\.title)] + rows
        var widths = columns.indices.map { column in all.map { $0[column].columnCount }.max() ?? 0 }
        if let width {
            while total(widths) > width {
                let widest = columns.indices.filter { !columns[$0].isNumber }.max { widths[$0] < widths[$1] }
                guard let widest, widths[widest] > Self.narrowest else { break }
                widths[widest] -= min(total(widths) - width, widths[widest] - Self.narrowest)
            }
        }
        return all.map { row in
            let cells = columns.indices.map { column in pad(row[column], widths[column], columns[column].isNumber) }
            let line = cells.joined(separator: Self.separator)
            guard let last = line.utf8.lastIndex(where: { $0 != UInt8(ascii: " ") }) else { return "" }
            return String(line[...last])
        }.joined(separator: "\n")
    }

    private func total(_ widths: [Int]) -> Int { widths.reduce(0, +) + Self.separator.count * (widths.count - 1) }

    private func pad(_ cell: String, _ width: Int, _ isNumber: Bool) -> String {
        let count = cell.columnCount
        if count > width { return cell.prefix(width - 1) + "…" }
        let space = String(repeating: " ", count: width - count)
        return isNumber ? space + cell : cell + space
    }
}

extension String {
    /// Whether it is nothing but visible characters and spaces of one byte: most are, and need no look at what Unicode
    /// makes of them.
    var isPrintableASCII: Bool { utf8.allSatisfy { (0x20..<0x7f).contains($0) } }

    fileprivate var columnCount: Int { isPrintableASCII ? utf8.count : count }
}
