import IORuntime

extension Volume {
    /// Copies all of this volume to `destination`, and flushes it.
    ///
    /// Holes and zeros are not read, and what is read and turns out to be zeros is not written as data. A destination
    /// that is larger reads as zeros past the end of the source; one that is smaller is refused with `outOfRange`
    /// before anything is written. The first failure stops the copy: it is thrown once no request is in flight any
    /// more, and what the destination holds then is unspecified. A cancelled task ends the same way with `cancelled`.
    /// A difference found by `options.verifies` throws `corrupt`.
    @discardableResult
    public func copy(
        to destination: any Volume, _ options: CopyOptions = CopyOptions()
    ) async throws(StorageError) -> CopySummary {
        let start = ContinuousClock.now
        let source = geometry
        let target = destination.geometry
        try target.checkWritable()
        guard source.size <= target.size else {
            throw StorageError(
                .outOfRange, "copy volume", at: "\(stack) to \(destination.stack)",
                why: "the destination has \(target.size) bytes, the source \(source.size)")
        }
        let copy = VolumeCopy(source: self, destination: destination, options: options)
        let written = try await copy.run(.copying) { piece throws(StorageError) in try await copy.copy(piece) }
        try await copy.zeroRest()
        try await destination.flush()
        if options.verifies { try await copy.verify() }
        return CopySummary(bytesTotal: source.size, bytesWritten: written, elapsed: ContinuousClock.now - start)
    }

    /// Reads both volumes where either may hold data. Throws `corrupt` and names the place unless `other` holds the
    /// same bytes, and zeros past the end of this volume.
    public func verifyCopy(in other: any Volume, _ options: CopyOptions = CopyOptions()) async throws(StorageError) {
        guard geometry.size <= other.geometry.size else {
            throw StorageError(
                .corrupt, "verify copy", at: other.stack,
                why: "it has \(other.geometry.size) bytes, the source \(geometry.size)")
        }
        try await VolumeCopy(source: self, destination: other, options: options).verify()
    }
}

/// One copy: takes the source apart and runs the pieces, several at a time, on all I/O executors.
struct VolumeCopy: Sendable {
    private let source: any Volume
    private let destination: any Volume
    private let options: CopyOptions
    private let plan: CopyPlan
    /// The destination's block size, in bytes.
    private let blockSize: UInt64

    init(source: any Volume, destination: any Volume, options: CopyOptions) {
        self.source = source
        self.destination = destination
        self.options = options
        plan = CopyPlan(
            source: source.geometry, destination: destination.geometry, requestSize: options.requestSize)
        blockSize = UInt64(max(1, destination.geometry.blockSize))
    }

    /// Runs `body` for every piece of the source; the result is the sum of what it returns.
    ///
    /// Extents are asked for a window at a time, so that memory does not grow with the volume. The pieces are tasks on
    /// the I/O executors in turn, `requestsInFlight` of them at most.
    func run(
        _ phase: CopyProgress.Phase,
        _ body: @escaping @Sendable (CopyPiece) async throws(StorageError) -> UInt64
    ) async throws(StorageError) -> UInt64 {
        var plan = plan
        var meter = ProgressMeter(phase, total: plan.size, start: .now)
        var done: UInt64 = 0
        let outcome = await withTaskGroup(
            of: PieceResult.self, returning: Result<UInt64, StorageError>.self
        ) { group in
            var sum: UInt64 = 0
            var running = 0
            /// Waits for a piece to end.
            func collect() async throws(StorageError) {
                guard let result = await group.next() else { return }
                running -= 1
                sum += try result.moved.get()
                done += result.byteCount
                if let progress = meter.reach(done, at: .now) { options.progress?(progress) }
            }
            do throws(StorageError) {
                while let window = plan.nextWindow() {
                    for piece in plan.pieces(of: try await source.extents(in: window)) {
                        if Task.isCancelled { throw StorageError(.cancelled, "copy volume", at: source.stack) }
                        while running >= max(1, options.requestsInFlight) { try await collect() }
                        running += 1
                        group.addTask(executorPreference: IOExecutorGroup.shared.next()) {
                            await PieceResult(piece, body)
                        }
                    }
                }
                while running > 0 { try await collect() }
                return .success(sum)
            } catch {
                // Leaving the group waits for the requests that are still in flight.
                group.cancelAll()
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// Copies one piece; the result is the bytes written as data.
    func copy(_ piece: CopyPiece) async throws(StorageError) -> UInt64 {
        guard piece.isData else {
            if !options.destinationReadsZero { try await destination.writeZeroes(roundedToBlock(piece.range)) }
            return 0
        }
        let target = roundedToBlock(piece.range)
        var buffer = IOBuffer(byteCount: target.count)
        try await fill(&buffer, from: source, piece.range)
        var written: UInt64 = 0
        for run in buffer.bytes.runs(granularity: Int(plan.granularity)) {
            let start = target.lowerBound + UInt64(run.range.lowerBound)
            if run.isData {
                try await destination.write(buffer.bytes.extracting(run.range), at: start)
                written += UInt64(run.range.count)
            } else if !options.destinationReadsZero {
                try await destination.writeZeroes(start..<start + UInt64(run.range.count))
            }
        }
        return written
    }

    /// Makes what the destination has past the end of the source read as zeros.
    func zeroRest() async throws(StorageError) {
        guard !options.destinationReadsZero else { return }
        let end = destination.geometry.size
        var start = roundedToBlock(0..<plan.size).upperBound
        while start < end {
            let next = min(end, start.addingSaturating(CopyPlan.zeroPieceSize))
            try await destination.writeZeroes(start..<next)
            start = next
        }
    }

    /// Compares the destination with the source.
    func verify() async throws(StorageError) {
        _ = try await run(.verifying) { piece throws(StorageError) in
            if piece.isData {
                try await compare(piece.range)
            } else {
                try await checkZeros(piece.range)
            }
            return 0
        }
        var start = plan.size
        let end = destination.geometry.size
        while start < end {
            let next = min(end, start.addingSaturating(CopyPlan.zeroPieceSize))
            try await checkZeros(start..<next)
            start = next
        }
    }

    private func compare(_ range: Range<UInt64>) async throws(StorageError) {
        var expected = IOBuffer(byteCount: range.count)
        try await fill(&expected, from: source, range)
        var found = IOBuffer(byteCount: roundedToBlock(range).count)
        try await fill(&found, from: destination, roundedToBlock(range))
        guard found.bytes.extracting(first: range.count).hasSameBytes(as: expected.bytes),
            found.bytes.extracting(droppingFirst: range.count).isZero
        else { throw difference(range) }
    }

    private func checkZeros(_ range: Range<UInt64>) async throws(StorageError) {
        let start = range.lowerBound / blockSize * blockSize
        let outward = start..<roundedToBlock(range).upperBound
        for extent in try await destination.extents(in: outward) where extent.kind == .data {
            var position = extent.range.lowerBound
            while position < extent.range.upperBound {
                let part = position..<min(extent.range.upperBound, position + plan.requestSize)
                var found = IOBuffer(byteCount: part.count)
                try await fill(&found, from: destination, part)
                // The block in which the source ends may begin before the range, with data.
                let skipped = Int(max(range.lowerBound, part.lowerBound) - part.lowerBound)
                guard found.bytes.extracting(droppingFirst: skipped).isZero else { throw difference(part) }
                position = part.upperBound
            }
        }
    }

    private func difference(_ range: Range<UInt64>) -> StorageError {
        StorageError(
            .corrupt, "verify copy", at: "bytes \(range) of \(destination.stack)",
            why: "they are not what \(source.stack) holds")
    }

    /// Reads `range` into the beginning of `buffer`, and sets the rest to zero.
    private func fill(
        _ buffer: inout IOBuffer, from volume: any Volume, _ range: Range<UInt64>
    ) async throws(StorageError) {
        try await volume.read(into: &buffer, 0..<range.count, at: range.lowerBound)
        var bytes = buffer.mutableBytes
        var rest = bytes._mutatingExtracting(droppingFirst: range.count)
        rest.zero()
    }

    /// Only the last piece of a source ends inside a block; the destination has all of that block.
    private func roundedToBlock(_ range: Range<UInt64>) -> Range<UInt64> {
        range.lowerBound..<range.upperBound.addingSaturating(blockSize - 1) / blockSize * blockSize
    }
}

/// How one piece ended.
private struct PieceResult: Sendable {
    let byteCount: UInt64
    let moved: Result<UInt64, StorageError>

    init(_ piece: CopyPiece, _ body: @Sendable (CopyPiece) async throws(StorageError) -> UInt64) async {
        byteCount = UInt64(piece.range.count)
        do throws(StorageError) {
            moved = .success(try await body(piece))
        } catch {
            moved = .failure(error)
        }
    }
}
