import BlockStorage

/// Reads the requests of a trace, in the order in which they stand there.
struct TraceParser {
    /// A request with the time that its trace says.
    struct Request: Equatable {
        /// In nanoseconds since whenever the trace counts from, or in whole seconds for a format that has no more.
        var time: UInt64
        var byteCount: UInt64
        var isWrite: Bool
    }

    /// Requests larger than this are no requests.
    static let largestByteCount: UInt64 = 1 << 30

    private let lines: TextLines
    private let source: TraceSource
    private let volume: [UInt8]?
    /// What the trace is counted from; the first request's time.
    private var origin: UInt64?
    private var hasBegun = false
    private var isOver = false
    private var fioVersion = 0
    /// fio's log of version 2: the sum of the waits.
    private var waited: UInt64 = 0

    init(_ source: TraceSource) throws(StorageError) {
        self.source = source
        volume = source.volume.map { Array($0.utf8) }
        lines = try TextLines(path: source.path)
    }

    var path: String { lines.path }

    /// The next request of the chosen volume; nil after the last. Throws `invalidArgument` with the line's number for a
    /// line that is not of the format.
    mutating func next() throws(StorageError) -> Request? {
        while !isOver, let line = try lines.next() {
            let isFirst = !hasBegun
            guard let byte = line.first(where: { $0 != 0x20 && $0 != 0x09 }), byte != UInt8(ascii: "#") else {
                continue
            }
            hasBegun = true
            let request: Request?
            switch source.format {
            case .msr: request = try isFirst && isHeader(line, "Timestamp") ? nil : msr(line)
            case .alibaba: request = try isFirst && isHeader(line, "device_id") ? nil : alibaba(line)
            case .tencent: request = try isFirst && isHeader(line, "Timestamp") ? nil : tencent(line)
            case .fio: request = try fio(line, isFirst: isFirst)
            case .blkparse: request = try blkparse(line)
            case .mqsim: request = try mqsim(line)
            }
            if let request { return request }
        }
        return nil
    }

    /// Whether the line names the columns.
    private func isHeader(_ line: ArraySlice<UInt8>, _ name: String) -> Bool {
        line.drop { $0 == 0x20 }.prefix(name.utf8.count).map { $0 | 0x20 } == name.utf8.map { $0 | 0x20 }
    }

    // MARK: Formats

    private mutating func msr(_ line: ArraySlice<UInt8>) throws(StorageError) -> Request? {
        var fields = TextFields(line, separator: UInt8(ascii: ","))
        // Windows counts 100 ns since 1601, which fits; a nanosecond count of later times would not.
        let ticks = try number(&fields, "Timestamp")
        let host = try field(&fields, "Hostname")
        let disk = try field(&fields, "DiskNumber")
        let type = try field(&fields, "Type")
        _ = try number(&fields, "Offset")
        let size = try size(&fields, "Size", unit: 1)
        let isWrite = try direction(type, read: ["Read", "R"], write: ["Write", "W"])
        guard matches(host + [UInt8(ascii: "_")] + disk) else { return nil }
        return try request(ticks, unit: 100, size, isWrite)
    }

    private mutating func alibaba(_ line: ArraySlice<UInt8>) throws(StorageError) -> Request? {
        var fields = TextFields(line, separator: UInt8(ascii: ","))
        let device = try field(&fields, "device_id")
        let opcode = try field(&fields, "opcode")
        _ = try number(&fields, "offset")
        let size = try size(&fields, "length", unit: 1)
        let time = try number(&fields, "timestamp")
        let isWrite = try direction(opcode, read: ["R"], write: ["W"])
        return matches(device) ? try request(time, unit: 1000, size, isWrite) : nil
    }

    private mutating func tencent(_ line: ArraySlice<UInt8>) throws(StorageError) -> Request? {
        var fields = TextFields(line, separator: UInt8(ascii: ","))
        let time = try number(&fields, "Timestamp")
        _ = try number(&fields, "Offset")
        let size = try size(&fields, "Size", unit: 512)
        let isWrite = try direction(try field(&fields, "IOType"), read: ["0"], write: ["1"])
        return matches(try field(&fields, "VolumeID")) ? try request(time, unit: 1_000_000_000, size, isWrite) : nil
    }

    private mutating func mqsim(_ line: ArraySlice<UInt8>) throws(StorageError) -> Request? {
        var fields = TextFields(line, separator: nil)
        let time = try number(&fields, "time")
        let device = try field(&fields, "device")
        _ = try number(&fields, "lba")
        let size = try size(&fields, "sectors", unit: 512)
        // The other way round than elsewhere.
        let isWrite = try direction(try field(&fields, "type"), read: ["1"], write: ["0"])
        return matches(device) ? try request(time, unit: source.timeUnit, size, isWrite) : nil
    }

    private mutating func blkparse(_ line: ArraySlice<UInt8>) throws(StorageError) -> Request? {
        var fields = TextFields(line, separator: nil)
        let device = try field(&fields, "device")
        // The sums at the end.
        if device.starts(with: Array("CPU".utf8)) || device.starts(with: Array("Total".utf8)) {
            isOver = true
            return nil
        }
        let numbers = device.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard numbers.count == 2, numbers.allSatisfy({ $0.decimal != nil }) else {
            throw lines.error("\(device.excerpt) is no device: major,minor")
        }
        _ = try number(&fields, "CPU")
        _ = try number(&fields, "sequence number")
        let time = try field(&fields, "time")
        _ = try number(&fields, "process")
        guard let action = fields.next(), action.elementsEqual([UInt8(ascii: "Q")]), let rwbs = fields.next(),
            !rwbs.contains(UInt8(ascii: "D")), let isWrite = direction(ofFlags: rwbs), !fields.isAtEnd
        else { return nil }
        // A flush has no sectors.
        guard let sector = fields.next(), sector.decimal != nil else { return nil }
        guard let plus = fields.next(), plus.elementsEqual([UInt8(ascii: "+")]) else {
            throw lines.error("a '+' is missing between the sector and their number")
        }
        let size = try size(&fields, "number of sectors", unit: 512)
        let parts = time.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 2, let seconds = parts[0].decimal, let fraction = parts[1].decimal, parts[1].count == 9,
            seconds < UInt64.max / 2_000_000_000
        else { throw lines.error("\(time.excerpt) is no time: seconds.nanoseconds") }
        return matches(device) ? try request(seconds * 1_000_000_000 + fraction, unit: 1, size, isWrite) : nil
    }

    private func direction(ofFlags flags: ArraySlice<UInt8>) -> Bool? {
        if flags.contains(UInt8(ascii: "W")) { return true }
        return flags.contains(UInt8(ascii: "R")) ? false : nil
    }

    private mutating func fio(_ line: ArraySlice<UInt8>, isFirst: Bool) throws(StorageError) -> Request? {
        if isFirst {
            switch String(decoding: line.prefix(64), as: UTF8.self) {
            case "fio version 2 iolog": fioVersion = 2
            case "fio version 3 iolog": fioVersion = 3
            default: throw lines.error("the first line is not 'fio version 2 iolog' or 'fio version 3 iolog'")
            }
            return nil
        }
        var fields = TextFields(line, separator: nil)
        let time = fioVersion == 3 ? try number(&fields, "time") : 0
        let file = try field(&fields, "file name")
        let action = String(decoding: try field(&fields, "action").prefix(16), as: UTF8.self)
        switch action {
        case "add", "open", "close", "unlink": return nil
        case "wait" where fioVersion == 2:
            // Microseconds since the wait before.
            let (sum, overflow) = waited.addingReportingOverflow(try number(&fields, "time to wait"))
            guard !overflow else { throw lines.error("the waits are longer than 500,000 years") }
            waited = sum
            return nil
        case "sync", "datasync", "sync_file_range", "trim", "wait": return nil
        case "read", "write":
            _ = try number(&fields, "offset")
            let size = try size(&fields, "length", unit: 1)
            return matches(file)
                ? try request(fioVersion == 3 ? time : waited, unit: 1000, size, action == "write") : nil
        default: throw lines.error("the action '\(action)' is none of fio's")
        }
    }

    // MARK: Fields

    private func matches(_ name: some Sequence<UInt8>) -> Bool { volume.map { name.elementsEqual($0) } ?? true }

    private func field(_ fields: inout TextFields, _ name: String) throws(StorageError) -> ArraySlice<UInt8> {
        guard let field = fields.next(), !field.isEmpty else { throw lines.error("the \(name) is missing") }
        return field
    }

    private func number(_ fields: inout TextFields, _ name: String) throws(StorageError) -> UInt64 {
        let field = try field(&fields, name)
        guard let number = field.decimal else {
            throw lines.error("the \(name) is \(field.excerpt), which is no whole number of 64 bits")
        }
        return number
    }

    private func size(_ fields: inout TextFields, _ name: String, unit: UInt64) throws(StorageError) -> UInt64 {
        let count = try number(&fields, name)
        guard count <= Self.largestByteCount / unit else {
            throw lines.error("the \(name) is \(count): more than 1 GiB")
        }
        return count * unit
    }

    private func direction(_ field: ArraySlice<UInt8>, read: [String], write: [String]) throws(StorageError) -> Bool {
        if read.contains(where: { field.elementsEqual($0.utf8) }) { return false }
        if write.contains(where: { field.elementsEqual($0.utf8) }) { return true }
        throw lines.error("\(field.excerpt) is neither \(read[0]) for reads nor \(write[0]) for writes")
    }

    /// A request at a time in the trace's unit. What came before the first request came with it, as far as this goes: the
    /// order is the business of whoever replays.
    private mutating func request(_ ticks: UInt64, unit: UInt64, _ size: UInt64, _ isWrite: Bool) throws(StorageError)
        -> Request
    {
        // Room for what comes late: a minute before the first.
        let start = origin ?? (ticks - min(ticks, 60_000_000_000 / max(1, unit)))
        origin = start
        let (time, overflow) = (ticks - min(start, ticks)).multipliedReportingOverflow(by: unit)
        guard !overflow else { throw lines.error("the time is more than 500 years after the first one") }
        return Request(time: time, byteCount: size, isWrite: isWrite)
    }
}
