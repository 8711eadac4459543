#if RBD
    import BlockStorage
    import CRBD
    import IORuntime
    import SystemPackage

    extension RBDPool {
        public func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
            let what = "resize volume"
            try checkSize(size, what, name)
            let connection = try await connection
            try await names.withName(name) { () async throws(StorageError) in
                let (image, declaration) = try await findVolume(name, what, connection)
                guard let old = try await connection.facts(of: [image.id])[image.id]?.size else {
                    throw failure(.notFound, what, name, "it was removed at this moment")
                }
                if size == old { return }
                let writer = attachments.writer(image.id)
                if size < old {
                    guard allowShrink else {
                        throw failure(
                            .invalidArgument, what, name, "it has \(old) bytes, and what is cut off would be lost")
                    }
                    if writer == nil { try await checkUnused(image, what, connection) }
                }
                let room = size > old ? (declaration.bytes ?? old).addingSaturating(size - old) : nil
                try await settling(image, "resize", connection, room: room) { () async throws(StorageError) in
                    if let writer {
                        try await writer.resize(to: size)
                    } else {
                        try await connection.withImage(image.reference, isReadOnly: false, what) {
                            (opened) async throws(StorageError) in
                            try await opened.resize(to: size, allowShrink: allowShrink)
                        }
                    }
                    if declaration.provisioning == .fat, size > old {
                        try await allocate(old..<size, of: image, connection)
                    }
                }
            }
        }

        /// Writes zeros where a volume has grown.
        private func allocate(
            _ range: Range<UInt64>, of image: PoolImage, _ connection: RBDConnection
        ) async throws(StorageError) {
            if let writer = attachments.writer(image.id) { return try await allocate(range, of: writer) }
            let volume = try await RBDVolume.open(image.reference, mode: .exclusive, connection)
            try await closing(volume) { () async throws(StorageError) in
                try await allocate(range, of: volume)
            }
        }

        /// Writes zeros that are stored, in parts each of which has the pool's deadline.
        func allocate(_ range: Range<UInt64>, of volume: RBDVolume) async throws(StorageError) {
            for part in range.parts(of: 64 << 20) { try await volume.writeZeroes(part, options: .keepAllocated) }
            try await volume.flush()
        }

        /// Whether the object map is what it should be; the cluster checks everything else itself. A repair rebuilds it.
        public func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport {
            let what = "check volume"
            let connection = try await connection
            let (image, _) = try await findManaged(name, what, connection)
            var report = CheckReport()
            guard let facts = try await connection.facts(of: [image.id])[image.id] else {
                throw failure(.corrupt, what, name, "the image has no header: delete the volume")
            }
            if facts.flags & RBDFeatures.invalidMaps != 0 {
                report.findings = ["the object map is not valid, so that nothing can be told fast from it"]
                if repair == .none {
                    report.corruptions = 1
                } else {
                    try await recording("repair", of: name, [Detail.images: image.id], connection) {
                        () async throws(StorageError) in
                        try await withWriter(image, what, connection) { (opened) async throws(StorageError) in
                            try await opened.rebuildObjectMap()
                        }
                    }
                    report.corruptionsFixed = 1
                }
            }
            report.allocatedClusters = try await connection.facts(of: [image.id])[image.id]?.objects ?? 0
            return report
        }

        /// Breaks the lock of the image, and shuts out of the cluster who had it, or whoever has the image open.
        public func breakLock(of volume: String) async throws(StorageError) {
            let what = "break lock"
            let connection = try await connection
            let (image, _) = try await findManaged(volume, what, connection)
            if attachments.isOpen(image.id) { throw failure(.busy, what, volume, "this process has it open") }
            try await connection.withImage(image.reference, isReadOnly: false, what) {
                (opened) async throws(StorageError) in
                let owner = try await opened.lockOwner()
                if let owner { try await opened.breakLock(of: owner) }
                // Operations of other hosts have it open for a moment, and are not to be shut out.
                _ = try await opened.waitForOthers(atMost: .seconds(2), except: owner)
                for watcher in try await opened.watchers() where watcher.id != connection.instance {
                    try await connection.exclude(watcher.address)
                }
            }
        }

        public func changedExtents(
            of reference: VolumeReference, since snapshot: String
        ) async throws(StorageError) -> [Extent] {
            let what = "map changes"
            let connection = try await connection
            let (image, _) = try await findManaged(reference.name, what, connection)
            _ = try await find(snapshot, of: image, what, connection)
            let size: UInt64
            if let newer = reference.snapshot {
                size = try await find(newer, of: image, what, connection).size
            } else {
                size = try await connection.facts(of: [image.id])[image.id]?.size ?? 0
            }
            return try await connection.withImage(image.reference, snapshot: reference.snapshot, what) {
                (opened) async throws(StorageError) in
                let isFast = try await opened.hasFastDifferences()
                var extents: [Extent] = []
                // Where every object has to be looked at, that takes long.
                for part in (0..<size).parts(of: isFast ? RBDVolume.largestMap : 4 << 30) {
                    extents += try await opened.difference(in: part, since: snapshot, isFast: isFast).map { run in
                        Extent(run.range, run.exists ? .data : .hole)
                    }
                }
                return extents
            }
        }
    }

    extension Range<UInt64> {
        /// The range in parts of at most `byteCount` bytes, which is a multiple of every object's size.
        func parts(of byteCount: UInt64) -> some Sequence<Range<UInt64>> {
            sequence(state: lowerBound) { position in
                guard position < upperBound else { return nil }
                let start = position
                position = Swift.min(upperBound, start.addingSaturating(byteCount - start % byteCount))
                return start..<position
            }
        }
    }

    extension RBDImage {
        /// Whether whole objects that differ can be told by the object maps.
        func hasFastDifferences() async throws(StorageError) -> Bool {
            unsafe try await call("rbd_get_flags", "map volume") { handle throws(SystemError) in
                var (features, flags) = (UInt64(0), UInt64(0))
                try rbdChecked("rbd_get_features", Int(unsafe rbd_get_features(handle, &features)))
                try rbdChecked("rbd_get_flags", Int(unsafe rbd_get_flags(handle, &flags)))
                return features & RBDFeatures.fastDiff != 0 && flags & RBDFeatures.invalidMaps == 0
            }
        }

        func rebuildObjectMap() async throws(StorageError) {
            unsafe try await longCall("rbd_rebuild_object_map", "repair volume") {
                handle, progress throws(SystemError) in
                let result = unsafe rbd_rebuild_object_map(handle, rbdProgress, progress)
                _ = try rbdChecked("rbd_rebuild_object_map", Int(result))
            }
        }
    }
#endif
