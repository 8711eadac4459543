#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        /// The array makes clones, and full copies too: either depends on nothing once it is there. What is called
        /// linked keeps its template's name, and the template, until it is flattened.
        public func cloneVolume(
            _ source: VolumeReference, as name: String, _ request: CloneRequest
        ) async throws(StorageError) -> VolumeDescription {
            let what = "clone volume"
            try VolumeName.check(name)
            if let snapshot = source.snapshot { try VolumeName.check(snapshot, as: "snapshot name") }
            let unit = try await findManaged(source.name, what)
            let snapshot = try await snapshot(of: unit, source, what)
            let format = unit.mark?.format ?? .raw
            let (own, whole) = (unit.mark?.virtualSize ?? unit.size, snapshot?.size ?? unit.size)
            let sourceSize = format == .raw ? whole : snapshot?.imageSize ?? own
            let wanted = request.size ?? sourceSize
            guard wanted >= sourceSize else {
                throw failure(
                    .invalidArgument, what, name, "\(wanted) bytes are less than the \(sourceSize) of \(source)")
            }
            let size = format == .raw ? try rounded(wanted, what, name) : wanted
            let qos = try completed(request.qos, what, name)
            return try await createOnce(name, what) { existing in
                !request.isFull && existing.template == source && existing.virtualSize == size
                    && (request.qos == nil || existing.qos == qos)
            } create: { () async throws(StorageError) in
                let origin = LUNMark.Source(unit: unit.id, snapshot: source.snapshot)
                try await build(
                    request.isFull ? "copy" : "clone", name, size: size, format, request.qos,
                    source: request.isFull ? nil : origin, atLeast: whole
                ) { (request) async throws(StorageError) in
                    try await whileQuiet(unit.id, neededFor: snapshot == nil) {
                        [provisioner] (isQuiet) async throws(StorageError) in
                        try await provisioner.clone(unit.id, snapshot: snapshot?.id, isQuiet: isQuiet, request)
                    }
                } finish: { (clone) async throws(StorageError) in
                    if format == .qcow2, size > sourceSize { try await growImage(on: clone, to: size) }
                    if !request.isFull { try await checkPresent(unit.id, source, name) }
                }
            }
        }

        /// Throws `conflict` unless what was cloned is still there, and stays: who deletes it sees the clone from now
        /// on.
        private func checkPresent(
            _ id: LUN.ID, _ source: VolumeReference, _ name: String
        ) async throws(StorageError) {
            let unit = try await provisioner.unit(id)
            if let unit, unit.visibleName != nil {
                guard let snapshot = source.snapshot else { return }
                if try await provisioner.snapshots(of: id).contains(where: { $0.name == snapshot }) { return }
            }
            throw failure(.conflict, "clone volume", name, "\(source) was deleted while it was cloned")
        }

        /// The snapshot that is meant; nil for the volume itself. Throws `notFound`.
        func snapshot(
            of unit: LUN, _ reference: VolumeReference, _ what: String
        ) async throws(StorageError) -> LUNSnapshot? {
            guard let name = reference.snapshot else { return nil }
            guard let found = try await snapshots(of: unit).first(where: { $0.name == name }) else {
                throw failure(.notFound, what, "\(reference)", "there is no such snapshot")
            }
            return found
        }

        /// Runs `body` while this process does not write to a unit that it has open for that; it says whether that is
        /// so. Where the array copies units as of one moment, writes go on.
        ///
        /// Throws `busy` where writes would have to wait for too long.
        func whileQuiet<Result: Sendable>(
            _ id: LUN.ID, neededFor isNeeded: Bool = true,
            _ body: @escaping @Sendable (Bool) async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            guard isNeeded, let writer = attachments.writer(id) else { return try await body(false) }
            let needsQuiet = !provisioner.profile.copiesInUse
            if needsQuiet { try await writer.gate.shut(writer.stack) }
            defer { if needsQuiet { writer.gate.open() } }
            // An image keeps some of its tables in memory.
            if writer.isImage { try await writer.flush() }
            guard needsQuiet else { return try await body(false) }
            // Writes are late after the deadline: rather is there no copy.
            let limit = options.deadline / 2
            let late = StorageError(
                .busy, "copy volume", at: writer.stack,
                why: "it is in use, and its writes would have to wait for the copy for more than \(limit)")
            return try await within(limit, or: late) { () async throws(StorageError) in try await body(true) }
        }

        /// The volumes that were cloned from a unit, or from one of its snapshots, and are not flattened: by the names
        /// that they have or are to have.
        func clones(of id: LUN.ID, snapshot: String? = nil) async throws(StorageError) -> [LUN] {
            try await provisioner.units().filter { unit in
                guard let mark = unit.mark, mark.phase != .deleting, let source = mark.source else { return false }
                return source.unit == id && (snapshot == nil || source.snapshot == snapshot)
            }
        }

        public func flattenVolume(_ name: String) async throws(StorageError) {
            let what = "flatten volume"
            let (unit, _) = try await findVolume(name, what)
            try await names.withName(name) { () async throws(StorageError) in try await flatten(unit, what) }
        }

        /// Its bytes are its own already: it only forgets where they came from.
        func flatten(_ unit: LUN, _ what: String) async throws(StorageError) {
            guard unit.mark?.source != nil else { return }
            try await recording("flatten", of: unit.mark?.name ?? unit.name) { (ticket) async throws(StorageError) in
                let begun = try await begin(unit, ticket, what) { _ in }
                try await finish(begun) { $0.source = nil }
            }
        }
    }
#endif
