import BlockStorage
import Foundation

/// The lines of a file, one after the other: memory does not depend on the size of the file.
final class TextLines {
    private static let chunk = 64 << 10
    private static let longestLine = 4096

    let path: String
    /// Of the line that was returned last, from 1.
    private(set) var number = 0
    private let file: FileHandle
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false

    /// Throws `notFound` where there is no file, and `invalidArgument` where it is something else, such as a directory.
    init(path: String) throws(StorageError) {
        self.path = path
        file = try FileHandle.regular(path, "open trace")
    }

    /// The next line without its end; nil after the last one.
    func next() throws(StorageError) -> ArraySlice<UInt8>? {
        while true {
            if let end = buffer[position...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { position = end + 1 }
                return line(position..<end)
            }
            guard !isAtEnd else {
                guard position < buffer.count else { return nil }
                defer { position = buffer.count }
                return line(position..<buffer.count)
            }
            guard buffer.count - position <= Self.longestLine else {
                throw error("the line is too long", line: number + 1)
            }
            try fill()
        }
    }

    private func line(_ range: Range<Int>) -> ArraySlice<UInt8> {
        number += 1
        var range = range
        if range.upperBound > range.lowerBound, buffer[range.upperBound - 1] == UInt8(ascii: "\r") {
            range = range.lowerBound..<(range.upperBound - 1)
        }
        // A byte order mark, as spreadsheets leave it.
        if number == 1, buffer[range].starts(with: [0xef, 0xbb, 0xbf]) {
            range = (range.lowerBound + 3)..<range.upperBound
        }
        return buffer[range]
    }

    private func fill() throws(StorageError) {
        let data: Data?
        do {
            data = try file.read(upToCount: Self.chunk)
        } catch {
            throw StorageError(.inputOutput, "read trace", at: path, why: "\(error.localizedDescription)")
        }
        buffer.removeFirst(position)
        position = 0
        if let data, !data.isEmpty { buffer.append(contentsOf: data) } else { isAtEnd = true }
    }

    /// What is wrong with a line, the last one unless told otherwise.
    func error(_ why: String, line: Int? = nil) -> StorageError {
        StorageError(.invalidArgument, "read trace", at: "\(path):\(line ?? number)", why: why)
    }
}

/// The fields of one line.
struct TextFields {
    private var rest: ArraySlice<UInt8>
    /// Nil for any number of spaces and tabs.
    private let separator: UInt8?
    private(set) var isAtEnd = false

    init(_ line: ArraySlice<UInt8>, separator: UInt8?) {
        (rest, self.separator) = (line, separator)
        if separator == nil { skipSpaces() }
        isAtEnd = rest.isEmpty
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    private mutating func skipSpaces() { rest = rest.drop(while: Self.isSpace) }

    /// The next field, without spaces around it; nil after the last.
    mutating func next() -> ArraySlice<UInt8>? {
        guard !isAtEnd else { return nil }
        let field: ArraySlice<UInt8>
        if let separator {
            let end = rest.firstIndex(of: separator) ?? rest.endIndex
            field = rest[rest.startIndex..<end]
            isAtEnd = end == rest.endIndex
            rest = isAtEnd ? [] : rest[(end + 1)...]
        } else {
            field = rest.prefix { !Self.isSpace($0) }
            rest = rest[field.endIndex...]
            skipSpaces()
            isAtEnd = rest.isEmpty
        }
        var trimmed = field.drop(while: Self.isSpace)
        while let last = trimmed.last, Self.isSpace(last) { trimmed.removeLast() }
        return trimmed
    }
}

extension ArraySlice<UInt8> {
    /// The decimal number that these digits are; nil for anything else, and for one that does not fit.
    var decimal: UInt64? {
        guard !isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in self {
            guard (0x30...0x39).contains(byte) else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(byte - 0x30))
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    /// As text for messages: short, and nothing but what is fit to print.
    var excerpt: String {
        let text = prefix(40).map { (0x20..<0x7f).contains($0) ? Character(UnicodeScalar($0)) : "?" }
        return "'" + String(text) + (count > 40 ? "…'" : "'")
    }
}

extension FileHandle {
    /// Opens a regular file for reading. Throws `notFound` where there is no file, and `invalidArgument` where it is
    /// something else, such as a directory, or a pipe that would be waited for.
    static func regular(_ path: String, _ what: String) throws(StorageError) -> FileHandle {
        guard FileManager.default.fileExists(atPath: path) else {
            throw StorageError(.notFound, what, at: path, why: "there is no such file")
        }
        let type = try? FileManager.default.attributesOfItem(atPath: (path as NSString).resolvingSymlinksInPath)[.type]
        guard type as? FileAttributeType == .typeRegular else {
            throw StorageError(.invalidArgument, what, at: path, why: "it is not a regular file")
        }
        do {
            return try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        } catch {
            throw StorageError(.permissionDenied, what, at: path, why: error.localizedDescription)
        }
    }
}
