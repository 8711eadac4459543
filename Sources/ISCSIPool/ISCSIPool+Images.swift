#if ISCSI
    import BlockStorage
    import IORuntime
    import QCOW2

    /// QCOW2 images on units: one on each.
    extension ISCSIPool {
        /// The size of the unit for a volume of `size` bytes. An image gets room for all of its disk and its tables,
        /// and the reserve for snapshots that a hypervisor makes in it.
        func unitSize(
            _ size: UInt64, _ format: VolumeFormat, _ what: String, _ name: String
        ) throws(StorageError) -> UInt64 {
            if format == .raw { return try rounded(size, what, name) }
            guard size > 0, size % 512 == 0, size <= provisioner.profile.largestSize else {
                throw failure(.invalidArgument, what, name, "an image's disk cannot have \(size) bytes")
            }
            // L2 tables take 8 bytes for each cluster of 64 KiB, and refcounts 2.
            let image = size + size / 4096 + 4 << 20
            let reserve = image / 100 * UInt64(options.snapshotReserve)
            return try rounded((image + reserve + 511) / 512 * 512, what, name)
        }

        /// Opens what is on a unit: the unit itself, or its image, which takes the unit over.
        func opened(
            _ unit: ISCSIVolume, _ mark: LUNMark?, _ id: LUN.ID, isReadOnly: Bool
        ) async throws(StorageError) -> any Volume {
            guard mark?.format == .qcow2 else { return unit }
            var image = QCOW2OpenOptions()
            image.isReadOnly = isReadOnly
            image.journal = journal(of: id)
            let opened = try await QCOW2Volume.open(FixedSizeVolume(unit), image)
            // Whatever is written on a unit, it has no other files.
            guard opened.header.backingFile == nil, !opened.header.hasExternalData else {
                try? await opened.close()
                throw failure(.unsafeImage, "open volume", mark?.name ?? "", "the image on it needs other files")
            }
            return opened
        }

        /// What outlives this process of the image on a unit; nil where there is no place for it.
        func journal(of id: LUN.ID) -> QCOW2Journal? {
            options.journalDirectory.map { QCOW2Journal(directory: $0, identity: "\(kind):\(identity):\(id)") }
        }

        /// Has the image on a unit that was rolled back know no journal, on any host: what a session has noted since is of
        /// other tables.
        func forgetJournal(ofImageOn unit: LUN) async throws(StorageError) {
            guard unit.mark?.format == .qcow2 else { return }
            journal(of: unit.id)?.remove()
            try await unlock(unit)
            let volume = try await connect(unit, .shared, isReadOnly: false)
            try await closing(volume) { () async throws(StorageError) in
                let sectors = AlignedVolume(volume)
                var features = try await QCOW2Header.read(from: sectors).autoclearFeatures
                guard features.sessionTag != 0 else { return }
                features.sessionTag = 0
                let bytes = (0..<8).map { UInt8(truncatingIfNeeded: features.rawValue >> (56 - 8 * $0)) }
                // Where the format has them.
                try await sectors.write(bytes.rawBytes, at: 88)
                try await sectors.flush()
            }
        }

        /// Writes a new image onto a unit that reads as zeros.
        func writeImage(
            _ size: UInt64, _ provisioning: ProvisioningType, to unit: LUN
        ) async throws(StorageError) {
            var image = QCOW2CreateOptions(size: size)
            switch provisioning {
            case .thin: break
            case .sparse: image.preallocation = .metadata
            case .fat: image.preallocation = .full
            }
            let volume = try await connect(unit, .shared, isReadOnly: false)
            let final = image
            try await closing(volume) { () async throws(StorageError) in
                try await QCOW2Volume.create(on: FixedSizeVolume(volume), final)
            }
        }

        /// Makes the disk of an image larger that nobody has open.
        func growImage(on unit: LUN, to size: UInt64) async throws(StorageError) {
            let volume = try await connect(unit, .shared, isReadOnly: false)
            let image: any Volume
            do throws(StorageError) {
                image = try await opened(volume, unit.mark, unit.id, isReadOnly: false)
            } catch {
                try? await volume.close()
                throw error
            }
            try await closing(image) { () async throws(StorageError) in
                if let image = image as? QCOW2Volume, image.geometry.size < size { try await image.resize(to: size) }
            }
        }

        /// Checks, and repairs, the image on a unit.
        func checkImage(
            on unit: LUN, _ name: String, repair: CheckRepair
        ) async throws(StorageError) -> CheckReport {
            let mode: OpenMode = repair == .none ? .readOnly : .exclusive
            let volume = try await open(unit, mode, name, asImage: false)
            let report: CheckReport
            do throws(StorageError) {
                report = try await QCOW2Checker.check(FixedSizeVolume(volume), repair: repair)
            } catch {
                try? await volume.close()
                throw error
            }
            try await volume.close()
            return report
        }
    }

    /// A volume that has the size that it has, for an image that would like to have it larger or smaller.
    struct FixedSizeVolume: ResizableVolume {
        private let base: any Volume

        /// Of any block size: an image changes single entries of its tables.
        init(_ base: any Volume) { self.base = AlignedVolume(base) }

        var geometry: VolumeGeometry { base.geometry }
        var stack: String { base.stack }

        func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
            try await base.read(into: &buffer, at: offset)
        }

        func read(into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64) async throws(StorageError) {
            try await base.read(into: &buffer, part, at: offset)
        }

        func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
            try await base.write(bytes, at: offset, options: options)
        }

        func readv(_ vector: IOVector) async throws(StorageError) { try await base.readv(vector) }

        func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
            try await base.writev(vector, options: options)
        }

        func flush() async throws(StorageError) { try await base.flush() }

        func discard(_ range: Range<UInt64>) async throws(StorageError) { try await base.discard(range) }

        func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
            try await base.writeZeroes(range, options: options)
        }

        func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
            try await base.extents(in: range)
        }

        /// It is as long as that already, or never will be.
        func resize(to size: UInt64) async throws(StorageError) {
            if size > geometry.size {
                throw StorageError(.noSpace, "grow image", at: stack, why: "the unit has \(geometry.size) bytes")
            }
            if size == 0 {
                throw StorageError(.notSupported, "empty volume", at: stack, why: "it has a fixed size")
            }
        }

        func close() async throws(StorageError) { try await base.close() }
    }
#endif
