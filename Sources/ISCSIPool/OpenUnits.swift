#if ISCSI
    import BlockStorage
    import IORuntime

    /// The units that this process has open: one writer, or readers.
    final class OpenUnits: Sendable {
        private struct Entry {
            weak var writer: UnitVolume?
            var readers: [Reader] = []
            /// Openings that have not succeeded or failed yet.
            var pendingWriter = false
            var pendingReaders = 0

            struct Reader {
                weak var volume: UnitVolume?
            }

            /// What is closing counts: it may still write.
            var hasWriter: Bool { pendingWriter || writer?.isPresent == true }
            var readerCount: Int { pendingReaders + readers.count { $0.volume?.isPresent == true } }
            /// Without those that are closing.
            var openWriterCount: Int { pendingWriter || writer?.isOpen == true ? 1 : 0 }
            var openReaderCount: Int { pendingReaders + readers.count { $0.volume?.isOpen == true } }
        }

        private let entries = Locked<[LUN.ID: Entry]>([:])

        private struct Key: Hashable {
            var pool: String
            var initiator: String
        }

        private static let all = Locked<[Key: OpenUnits]>([:])

        /// Those of the pool with this identity, however often it is opened: what a mark says is held by this process
        /// and initiator, and is not among them, nobody holds any more.
        static func ofThisProcess(pool: String, initiator: String) -> OpenUnits {
            all.withLock { all in
                let key = Key(pool: pool, initiator: initiator)
                let units = all[key] ?? OpenUnits()
                all[key] = units
                return units
            }
        }

        /// Whether the unit may be opened now; if so, `end` must follow.
        func begin(_ id: LUN.ID, _ mode: OpenMode) -> Bool {
            entries.withLock { entries in
                var entry = entries[id] ?? Entry()
                if entry.hasWriter { return false }
                switch mode {
                case .readOnly: entry.pendingReaders += 1
                case .exclusive:
                    if entry.readerCount > 0 { return false }
                    entry.pendingWriter = true
                }
                entries[id] = entry
                return true
            }
        }

        /// What was begun has opened the unit, or (nil) failed.
        func end(_ id: LUN.ID, _ mode: OpenMode, _ volume: UnitVolume?) {
            entries.withLock { entries in
                var entry = entries[id] ?? Entry()
                switch mode {
                case .readOnly:
                    entry.pendingReaders -= 1
                    entry.readers.removeAll { $0.volume?.isPresent != true }
                    if let volume { entry.readers.append(Entry.Reader(volume: volume)) }
                case .exclusive:
                    entry.pendingWriter = false
                    entry.writer = volume
                }
                entries[id] = entry
                entries = entries.filter { $0.value.hasWriter || $0.value.readerCount > 0 }
            }
        }

        /// The volume that is open for writing. It may close at any time.
        func writer(_ id: LUN.ID) -> UnitVolume? {
            entries.withLock { entries in
                guard let volume = entries[id]?.writer, volume.isOpen else { return nil }
                return volume
            }
        }

        /// Whether this process has the unit open, in any mode.
        func isOpen(_ id: LUN.ID) -> Bool {
            entries.withLock { entries in entries[id].map { $0.hasWriter || $0.readerCount > 0 } ?? false }
        }

        /// How often this process has the unit open, without what is closing.
        func count(_ id: LUN.ID) -> Int {
            entries.withLock { entries in entries[id].map { $0.openWriterCount + $0.openReaderCount } ?? 0 }
        }

        /// Whether this process has the unit open, or opens it, to read, and does not just close it.
        func isShared(_ id: LUN.ID) -> Bool {
            entries.withLock { entries in entries[id].map { $0.openReaderCount > 0 } ?? false }
        }
    }
#endif
