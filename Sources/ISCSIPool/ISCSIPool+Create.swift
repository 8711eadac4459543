#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        public func createVolume(
            _ name: String, _ request: CreateRequest
        ) async throws(StorageError) -> VolumeDescription {
            let what = "create volume"
            try VolumeName.check(name)
            let whole = try unitSize(request.size, request.format, what, name)
            let size = request.format == .raw ? whole : request.size
            let qos = try completed(request.qos, what, name)
            return try await createOnce(name, what) { existing in
                existing.format == request.format && existing.virtualSize == size
                    && existing.provisioning == request.provisioning && existing.template == nil
                    && (request.qos == nil || existing.qos == qos)
            } create: { () async throws(StorageError) in
                try await create(name, size, whole, request)
            }
        }

        /// Creates a volume unless the same one exists, also if another host creates it at the same time.
        func createOnce(
            _ name: String, _ what: String, isSame: (VolumeDescription) -> Bool,
            create: () async throws(StorageError) -> Void
        ) async throws(StorageError) -> VolumeDescription {
            try await names.withName(name) { () async throws(StorageError) in
                let end = ContinuousClock.now + options.deadline
                var turn = 0
                while true {
                    if try await findIfPresent(name) != nil {
                        let existing = try await describeVolume(name)
                        guard existing.isManaged, !existing.isTemplate, isSame(existing) else { throw taken(name) }
                        return existing
                    }
                    do throws(StorageError) {
                        try await create()
                        return try await describeVolume(name)
                    } catch {
                        // Another host may be making the same one just now: then there is no other room to ask for.
                        guard error.code == .alreadyExists || error.code == .quotaExceeded else { throw error }
                        let isThere = try await findIfPresent(name) != nil
                        if !isThere, error.code == .quotaExceeded || ContinuousClock.now > end { throw error }
                    }
                    turn += 1
                    await Self.pause(turn)
                }
            }
        }

        private func create(
            _ name: String, _ size: UInt64, _ whole: UInt64, _ request: CreateRequest
        ) async throws(StorageError) {
            if request.provisioning == .fat {
                let capacity = try await provisioner.capacity()
                let available = capacity.bytes - min(capacity.bytes, capacity.used)
                guard whole <= available else {
                    throw failure(
                        .noSpace, "create volume", name,
                        "\(whole) bytes are to be allocated and \(available) are available")
                }
            }
            try await build("create", name, size: size, request.format, request.qos, request.provisioning) {
                (request) async throws(StorageError) in
                try await provisioner.create(request)
            } finish: { (unit) async throws(StorageError) in
                switch request.format {
                case .raw: if request.provisioning == .fat { try await allocate(0..<unit.size, of: unit) }
                case .qcow2: try await writeImage(size, request.provisioning, to: unit)
                }
            }
        }

        /// Writes zeros that are stored, in parts each of which has the deadline, to a unit that nobody else has.
        func allocate(_ range: Range<UInt64>, of unit: LUN) async throws(StorageError) {
            let volume = try await connect(unit, .shared, isReadOnly: false)
            try await closing(volume) { () async throws(StorageError) in
                try await Self.allocate(range, of: volume)
            }
        }

        static func allocate(_ range: Range<UInt64>, of volume: any Volume) async throws(StorageError) {
            var start = range.lowerBound
            while start < range.upperBound {
                let end = min(range.upperBound, start + 16 << 20)
                try await volume.writeZeroes(start..<end, options: .keepAllocated)
                start = end
            }
            try await volume.flush()
        }

        public func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription {
            let what = "adopt volume"
            try VolumeName.check(name)
            return try await names.withName(name) { () async throws(StorageError) in
                let unit = try await find(name, what)
                if let mark = unit.mark {
                    guard mark.format == format else {
                        throw failure(.alreadyExists, what, name, "it is managed, and \(mark.format)")
                    }
                    return try await describeVolume(name)
                }
                guard format == .raw else {
                    throw failure(.notSupported, what, name, "only raw units are taken over")
                }
                // What is served counts already.
                if unit.path == nil {
                    try await checkRoom(
                        Provisioned(bytes: unit.size, minIOPS: unit.qos?.minIOPS ?? 0), for: nil, what, of: name)
                }
                try await recording("adopt", of: name) { (ticket) async throws(StorageError) in
                    let claim = try await claimRoom(for: unit, ticket, what, name)
                    // Ready from the first moment on: nothing of it may be undone but the mark.
                    var mark = LUNMark(name: name, format: format)
                    sign(&mark, ticket)
                    let adopted = try await provisioner.change(
                        unit.id, LUNChange(mark: mark, expected: .some(nil)))
                    if let claim { try await provisioner.delete(claim.id) }
                    try await finish(adopted)
                }
                return try await describeVolume(name)
            }
        }

        /// A small unit that keeps the room for a file which is about to be one, until it is deleted; nil for what
        /// counts already, or may have any room.
        ///
        /// A file has no mark that could say so, and what is adopted does not become a file again.
        private func claimRoom(
            for file: LUN, _ ticket: String, _ what: String, _ name: String
        ) async throws(StorageError) -> LUN? {
            if file.path != nil || options.limits == .none { return nil }
            let least = try rounded(512, what, name)
            var mark = mark(name, .volume, ticket)
            mark.promisedBytes = file.size - min(file.size, least)
            let claim = try await provisioner.create(LUNRequest(size: least, qos: file.qos, mark: mark))
            try await contend(claim, for: nil, what, of: name)
            return claim
        }
    }
#endif
