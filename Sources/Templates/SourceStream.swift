import BlockStorage
import IORuntime

/// A template input read in blocks: counts them, adds them up, and remembers the last of them.
///
/// Not safe for concurrent calls, and all calls block: it belongs to one piece of work on a blocking thread at a time.
final class SourceStream: @unchecked Sendable {
    private static let blockSize = 256 << 10
    /// How many of the last bytes are remembered: enough for the directory of an archive with one entry.
    static let tailSize = 128 << 10

    let name: String
    private let input: any TemplateInput
    private let digesters: [Digester]
    private let buffer = IOBuffer(byteCount: blockSize)
    private var filled = 0
    /// Whether the block has been read and not been asked for yet.
    private var isBlockWaiting = false
    private(set) var bytesRead: UInt64 = 0
    /// How long the source took to give them.
    private(set) var waitingTime = Duration.zero
    private var keepsTail = false
    /// The last bytes read of a zip file, `tailSize` of them at most.
    private(set) var tail: [UInt8] = []

    init(
        _ input: any TemplateInput, name: String, adding algorithms: [Checksum.Algorithm] = []
    ) throws(StorageError) {
        self.input = input
        self.name = name
        digesters = try algorithms.map { algorithm throws(StorageError) in try Digester(algorithm) }
    }

    /// Calls `body` with the block that `next` read last. It stays in place until `next` is called again.
    func withBlock<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // Sound: the buffer lives as long as this object, and nothing writes to it during the call.
        let memory = unsafe UnsafeRawBufferPointer(buffer.memory)
        return try body(unsafe RawSpan(_unsafeBytes: memory).extracting(first: filled))
    }

    /// Reads the first block, which `next` then finds, and throws unless it begins like a file of this kind.
    func expect(_ compression: Compression) throws(StorageError) {
        let magic = compression.magic
        keepsTail = compression == .zip
        isBlockWaiting = try next()
        guard withBlock({ $0.extracting(first: magic.count).array }) == magic else {
            throw StorageError(.unsafeImage, "unpack", at: name, why: "it is declared \(compression) and is not")
        }
    }

    /// Reads the next block; false at the end.
    func next() throws(StorageError) -> Bool {
        if isBlockWaiting {
            isBlockWaiting = false
            return true
        }
        // Sound: the buffer lives as long as this object, and nothing else uses it during the call.
        let memory = unsafe buffer.memory
        var bytes = unsafe MutableRawSpan(_unsafeBytes: memory)
        filled = try read(into: &bytes)
        guard filled > 0 else { return false }
        bytesRead += UInt64(filled)
        try withBlock { block throws(StorageError) in
            for digester in digesters { try digester.add(block) }
            guard keepsTail else { return }
            let kept = block.extracting(last: Self.tailSize)
            tail = tail.suffix(Self.tailSize - kept.byteCount) + kept.array
        }
        return true
    }

    private func read(into buffer: inout MutableRawSpan) throws(StorageError) -> Int {
        let start = ContinuousClock.now
        defer { waitingTime += ContinuousClock.now - start }
        return try input.readNext(into: &buffer)
    }

    /// Reads the next bytes into `buffer` instead; fewer than fit only at the end.
    func readDirectly(into buffer: inout MutableRawSpan) throws(StorageError) -> Int {
        let count = try read(into: &buffer)
        bytesRead += UInt64(count)
        for digester in digesters { try digester.add(buffer.bytes.extracting(first: count)) }
        return count
    }

    /// Reads everything, and calls `progress` with the bytes that were read so far.
    func readAll(progress: (UInt64) -> Void) async throws(StorageError) {
        while try await blockingWork.run({ () throws(StorageError) in try self.readSome() }) {
            if Task.isCancelled { throw StorageError(.cancelled, "read template source", at: name) }
            progress(bytesRead)
        }
        progress(bytesRead)
    }

    /// Reads a few megabytes; false at the end.
    private func readSome() throws(StorageError) -> Bool {
        for _ in 0..<32 {
            guard try next() else { return false }
        }
        return true
    }

    /// Reads what is left.
    func drain() throws(StorageError) {
        while try next() {}
    }

    /// The checksums of everything, once all is read, in the order in which they were asked for.
    func checksums() throws(StorageError) -> [Checksum] {
        try digesters.map { digester throws(StorageError) in try digester.finish() }
    }
}

extension RawSpan {
    /// A copy of the bytes.
    var array: [UInt8] {
        // Sound: the bytes are copied during the call.
        unsafe withUnsafeBytes { unsafe Array($0) }
    }
}
