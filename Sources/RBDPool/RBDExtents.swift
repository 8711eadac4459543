#if RBD
    import BlockStorage
    import CRBD
    import IORuntime
    import SystemPackage

    /// The extents of a range, from the runs that librbd reports in ascending order: what it leaves out is a hole.
    struct RBDExtents {
        private let range: Range<UInt64>
        private var extents: [Extent] = []
        private var position: UInt64

        init(_ range: Range<UInt64>) {
            self.range = range
            position = range.lowerBound
        }

        /// Adds runs that follow those added before.
        mutating func add(_ runs: [RBDRun]) {
            for run in runs {
                let part = run.range.clamped(to: range)
                guard part.lowerBound >= position, !part.isEmpty else { continue }
                append(.hole, to: part.lowerBound)
                append(run.exists ? .data : .hole, to: part.upperBound)
            }
        }

        private mutating func append(_ kind: Extent.Kind, to end: UInt64) {
            guard end > position else { return }
            if let last = extents.last, last.kind == kind {
                extents[extents.count - 1].range = last.range.lowerBound..<end
            } else {
                extents.append(Extent(position..<end, kind))
            }
            position = end
        }

        mutating func finished() -> [Extent] {
            append(.hole, to: range.upperBound)
            return extents
        }
    }

    /// A run of bytes that librbd has reported.
    struct RBDRun: Sendable {
        var range: Range<UInt64>
        /// False where there was something at the snapshot, and now is nothing.
        var exists: Bool
    }

    extension RBDImage {
        /// What exists in the range, or has changed in it since a snapshot. With `isFast` whole objects are reported, by
        /// the object map; else every object is looked at.
        func difference(
            in range: Range<UInt64>, since snapshot: String?, isFast: Bool
        ) async throws(StorageError) -> [RBDRun] {
            unsafe try await call("rbd_diff_iterate", "map volume") { handle throws(SystemError) in
                var runs: [RBDRun] = []
                let result = unsafe withUnsafeMutablePointer(to: &runs) { list in
                    // Sound: the callback runs during the call only, on one thread at a time.
                    unsafe rbd_diff_iterate2(
                        handle, snapshot, range.lowerBound, range.upperBound - range.lowerBound, 1, isFast ? 1 : 0,
                        { offset, byteCount, exists, list in
                            let end = offset.addingReportingOverflow(UInt64(byteCount))
                            if !end.overflow, byteCount > 0 {
                                unsafe list?.assumingMemoryBound(to: [RBDRun].self).pointee.append(
                                    RBDRun(range: offset..<end.partialValue, exists: exists != 0))
                            }
                            return 0
                        }, list)
                }
                try rbdChecked("rbd_diff_iterate", Int(result))
                return runs.sorted { $0.range.lowerBound < $1.range.lowerBound }
            }
        }
    }
#endif
