#if RBD
    import BlockStorage
    import IORuntime

    /// The volumes that this process has open, by their images' ids: one writer, or readers. Readers of snapshots do not
    /// count.
    final class RBDAttachments: Sendable {
        private struct Entry {
            weak var writer: RBDVolume?
            var readers: [Reader] = []
            /// Openings that have not succeeded or failed yet.
            var pendingWriter = false
            var pendingReaders = 0

            struct Reader {
                weak var volume: RBDVolume?
            }

            var hasWriter: Bool { pendingWriter || writer?.isOpen == true }
            var hasReaders: Bool { pendingReaders > 0 || readers.contains { $0.volume?.isOpen == true } }
        }

        private let entries = Locked<[String: Entry]>([:])

        /// Whether the image may be opened now; if so, `end` must follow.
        func begin(_ id: String, _ mode: OpenMode) -> Bool {
            entries.withLock { entries in
                var entry = entries[id] ?? Entry()
                if entry.hasWriter { return false }
                switch mode {
                case .readOnly: entry.pendingReaders += 1
                case .exclusive:
                    if entry.hasReaders { return false }
                    entry.pendingWriter = true
                }
                entries[id] = entry
                return true
            }
        }

        /// What was begun has opened the volume, or (nil) failed.
        func end(_ id: String, _ mode: OpenMode, _ volume: RBDVolume?) {
            entries.withLock { entries in
                var entry = entries[id] ?? Entry()
                switch mode {
                case .readOnly:
                    entry.pendingReaders -= 1
                    entry.readers.removeAll { $0.volume?.isOpen != true }
                    if let volume { entry.readers.append(Entry.Reader(volume: volume)) }
                case .exclusive:
                    entry.pendingWriter = false
                    entry.writer = volume
                }
                entries[id] = entry
                entries = entries.filter { $0.value.hasWriter || $0.value.hasReaders }
            }
        }

        /// The volume that is open for writing. It may close at any time.
        func writer(_ id: String) -> RBDVolume? {
            entries.withLock { entries in
                guard let volume = entries[id]?.writer, volume.isOpen else { return nil }
                return volume
            }
        }

        /// Whether this process has the image open, in any mode.
        func isOpen(_ id: String) -> Bool {
            entries.withLock { entries in entries[id].map { $0.hasWriter || $0.hasReaders } ?? false }
        }
    }
#endif
