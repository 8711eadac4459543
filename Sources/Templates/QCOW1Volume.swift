#if LegacyQCOW
    import BlockStorage
    import CQCow
    import IORuntime
    import SystemPackage

    /// A version 1 QCOW image, read through libqcow.
    ///
    /// The header and all tables are checked before libqcow sees the file, so that it meets no encryption (it would
    /// return the ciphertext as if all were well) and no offset that leads elsewhere.
    final class QCOW1Volume: Volume {
        private let file: any Volume
        private let reader: QCOW1Reader
        private let header: QCOW1Header
        private let map: QCOW1Map
        /// libqcow blocks, and one thread at a time may use an open image.
        private let thread = BlockingPool(threads: 1, idleSeconds: 1)

        let stack: String

        /// Opens the image in `file`, which stays open as long as this volume.
        init(_ file: File) async throws(StorageError) {
            let image = try await FileVolume(file, isReadOnly: true)
            header = try await QCOW1Header.read(from: image)
            map = try await QCOW1Map(header, of: image)
            let reader = try QCOW1Reader()
            try await thread.run { () throws(StorageError) in try reader.open(file.descriptor, name: file.path.string) }
            let size = try await thread.run { () throws(StorageError) in try reader.size() }
            guard size == header.size else { throw QCOW1Header.corrupt("libqcow reads another disk size") }
            self.file = image
            self.reader = reader
            stack = "qcow(\(image.stack))"
        }

        var geometry: VolumeGeometry { VolumeGeometry(size: header.size, largestTransfer: 4 << 20, isReadOnly: true) }

        func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
            try geometry.check(offset, buffer.byteCount)
            // Sound: the call returns only when the thread is done with the memory, even in a cancelled task.
            let segment = unsafe IOSegment(buffer.pinned, at: offset)
            try await thread.run { [reader] () throws(StorageError) in try reader.read(segment) }
        }

        func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
            try geometry.check(range)
            return try await map.extents(in: range)
        }

        func close() async throws(StorageError) {
            await thread.run { [reader] in reader.close() }
            try await file.close()
        }

        func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
            try geometry.checkWritable()
        }

        func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
            try geometry.checkWritable()
        }

        func discard(_ range: Range<UInt64>) async throws(StorageError) { try geometry.checkWritable() }
        func flush() async throws(StorageError) {}
    }

    /// An image that libqcow has open. All calls block, and are made one at a time.
    @safe
    private final class QCOW1Reader: @unchecked Sendable {
        // Sound: libqcow's own handle, owned by this object alone from `init` to `deinit`.
        private var handle: UnsafeMutablePointer<libqcow_file_t>?

        init() throws(StorageError) {
            guard unsafe libqcow_file_initialize(&handle, nil) == 1 else {
                throw StorageError(.internalError, "open image", why: "libqcow failed")
            }
        }

        deinit { unsafe libqcow_file_free(&handle, nil) }

        /// Opens the file behind the descriptor, whatever its path leads to by now.
        func open(_ descriptor: FileDescriptor, name: String) throws(StorageError) {
            let path = "/proc/self/fd/\(descriptor.rawValue)"
            guard unsafe libqcow_file_open(handle, path, libqcow_get_access_flags_read(), nil) == 1 else {
                throw StorageError(.corrupt, "open image", at: name, why: "libqcow cannot read it")
            }
        }

        func size() throws(StorageError) -> UInt64 {
            var size: UInt64 = 0
            guard unsafe libqcow_file_get_media_size(handle, &size, nil) == 1 else {
                throw StorageError(.corrupt, "open image", why: "libqcow cannot read its size")
            }
            return size
        }

        func read(_ segment: IOSegment) throws(StorageError) {
            var done = 0
            while done < segment.byteCount {
                // Sound: libqcow writes to what is left of the segment, whose owner waits for this call.
                let count = unsafe libqcow_file_read_buffer_at_offset(
                    handle, segment.memory.baseAddress?.advanced(by: done), segment.byteCount - done,
                    off64_t(segment.offset) + off64_t(done), nil)
                guard count > 0 else {
                    throw StorageError(
                        .corrupt, "read image", at: "byte \(segment.offset + UInt64(done))",
                        why: "libqcow cannot read it")
                }
                done += count
            }
        }

        func close() { unsafe libqcow_file_close(handle, nil) }
    }
#endif
