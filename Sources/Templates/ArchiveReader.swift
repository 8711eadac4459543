#if Archives
    import BlockStorage
    import CArchive
    import IORuntime

    /// Unpacks anything but gzip through libarchive: exactly one layer, of the kind that was declared.
    ///
    /// Not safe for concurrent calls, and all calls block: it belongs to one piece of work on a blocking thread at a time.
    @safe
    final class ArchiveReader: @unchecked Sendable {
        private let source: SourceStream
        private let compression: Compression
        // Sound: owned by this object alone, from `init` to `deinit`.
        private let archive: OpaquePointer
        private var isOpen = false
        private var isAtEnd = false
        private var entryName: [UInt8] = []
        /// What reading the source threw; libarchive only knows that something did.
        private var sourceFailure: StorageError?

        init(_ source: SourceStream, _ compression: Compression) throws(StorageError) {
            self.source = source
            self.compression = compression
            guard let archive = unsafe archive_read_new() else {
                throw StorageError(.internalError, "unpack", at: source.name, why: "out of memory")
            }
            unsafe self.archive = archive
        }

        deinit { unsafe archive_read_free(archive) }

        /// Fills `buffer` with the next unpacked bytes. Returns fewer than fit only at the end, where everything is
        /// checked and the rest of the source read: 0 means that all was well.
        func read(into buffer: inout MutableRawSpan) throws(StorageError) -> Int {
            if !isOpen { try open() }
            var done = 0
            while done < buffer.byteCount, !isAtEnd {
                var rest = buffer._mutatingExtracting(droppingFirst: done)
                // Sound: libarchive writes into this span only, during the call.
                let count = unsafe rest.withUnsafeMutableBytes { bytes in
                    unsafe archive_read_data(archive, bytes.baseAddress, bytes.count)
                }
                if count < 0 { throw failure() }
                if count == 0 { try finish() }
                done += count
            }
            return done
        }

        private func open() throws(StorageError) {
            isOpen = true
            // One filter or format is named; nothing is left for libarchive to find out.
            let filter =
                switch compression {
                case .bzip2: ARCHIVE_FILTER_BZIP2
                case .xz: ARCHIVE_FILTER_XZ
                case .zstd: ARCHIVE_FILTER_ZSTD
                case .gzip, .zip: ARCHIVE_FILTER_NONE
                }
            try check(unsafe archive_read_append_filter(archive, filter))
            try check(
                compression == .zip
                    ? unsafe archive_read_support_format_zip_streamable(archive)
                    : unsafe archive_read_set_format(archive, ARCHIVE_FORMAT_RAW))
            // Sound: libarchive calls back only from calls that this object makes, while it exists.
            let context = unsafe Unmanaged.passUnretained(self).toOpaque()
            try check(
                unsafe archive_read_open(
                    archive, context, nil,
                    { _, context, block in
                        guard let context = unsafe context, let block = unsafe block else { return -1 }
                        let reader = unsafe Unmanaged<ArchiveReader>.fromOpaque(context).takeUnretainedValue()
                        return unsafe reader.provide(block)
                    }, nil))
            try nextEntry()
        }

        /// Gives libarchive the next block of the source.
        private func provide(_ block: UnsafeMutablePointer<UnsafeRawPointer?>) -> Int {
            do throws(StorageError) {
                guard try source.next() else { return 0 }
                // Sound: the block stays where it is until the next call, as libarchive demands.
                let memory = unsafe source.withBlock { unsafe $0.pinned }
                unsafe block.pointee = UnsafeRawPointer(memory.baseAddress)
                return memory.count
            } catch {
                sourceFailure = error
                return -1
            }
        }

        private func nextEntry() throws(StorageError) {
            var entry: OpaquePointer?
            let result = unsafe archive_read_next_header(archive, &entry)
            guard result == ARCHIVE_OK || result == ARCHIVE_WARN, let entry = unsafe entry else { throw failure() }
            guard compression == .zip else { return }
            guard let name = unsafe archive_entry_pathname(entry) else {
                throw refused("its entry has no name")
            }
            entryName = unsafe Array(String(cString: name).utf8)
            let components = entryName.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            guard !components.contains(Array("..".utf8)[...]), !components.contains([]),
                !entryName.contains(UInt8(ascii: "\\"))
            else { throw refused("the name of its entry leads elsewhere") }
            guard unsafe archive_entry_filetype(entry) == 0o100000, unsafe archive_entry_is_encrypted(entry) == 0 else {
                throw refused("its entry is encrypted, or not a regular file")
            }
        }

        /// Checks, at the end of the data, that nothing else is in the archive.
        private func finish() throws(StorageError) {
            isAtEnd = true
            if compression == .zip {
                var entry: OpaquePointer?
                let result = unsafe archive_read_next_header(archive, &entry)
                if result == ARCHIVE_OK || result == ARCHIVE_WARN { throw refused("it holds more than one file") }
                guard result == ARCHIVE_EOF else { throw failure() }
            }
            try source.drain()
            if compression == .zip {
                try ZipDirectory.checkSingleFile(named: entryName, in: source.tail, of: source.name)
            } else if unsafe archive_filter_bytes(archive, -1) != source.bytesRead {
                // Bytes that do not begin another part pass for the end, and a damaged part does not begin one.
                throw StorageError(.corrupt, "unpack", at: source.name, why: "other bytes follow its end")
            }
        }

        private func check(_ result: Int32) throws(StorageError) {
            // A warning says that an external program would be run for this: not here.
            if result != ARCHIVE_OK { throw failure() }
        }

        private func failure() -> StorageError {
            if let sourceFailure { return sourceFailure }
            let text = unsafe archive_error_string(archive).map { unsafe String(cString: $0) }
            return StorageError(.corrupt, "unpack", at: source.name, why: text ?? "libarchive cannot read it")
        }

        private func refused(_ why: String) -> StorageError {
            StorageError(.unsafeImage, "unpack zip", at: source.name, why: why)
        }
    }
#endif
