#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        public func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
            let what = "resize volume"
            try VolumeName.check(name)
            try await names.withName(name) { () async throws(StorageError) in
                let (unit, mark) = try await findVolume(name, what)
                let whole = try unitSize(size, mark.format, what, name)
                // What was asked for may be the size that it has, rounded.
                let size = mark.format == .raw ? whole : size
                let has = mark.virtualSize ?? unit.size
                if size == has { return }
                guard size > has else {
                    throw failure(
                        allowShrink ? .notSupported : .invalidArgument, what, name,
                        "it has \(has) bytes, and no array takes back what it gave")
                }
                if mark.format == .qcow2 { return try await growImage(of: unit, to: size, whole, name) }
                try await grow(unit, to: size, name)
            }
        }

        /// Grows a unit as far as its image needs, and then the disk of the image, as this process has it open for
        /// writing or opened for that.
        private func growImage(
            of unit: LUN, to size: UInt64, _ whole: UInt64, _ name: String
        ) async throws(StorageError) {
            if whole > unit.size { try await grow(unit, to: whole, name) }
            if let writer = attachments.writer(unit.id) {
                try await writer.resizeImage(to: size)
            } else {
                let opened = try await open(unit, .exclusive, name)
                try await closing(opened) { () async throws(StorageError) in try await opened.resizeImage(to: size) }
            }
            try await note(size, of: unit.id, name)
        }

        /// Says in the mark which size the disk of an image has by now.
        func note(_ size: UInt64, of id: LUN.ID, _ name: String) async throws(StorageError) {
            for _ in 0..<100 {
                guard let mark = try await provisioner.unit(id)?.mark, mark.virtualSize != size else { return }
                var new = mark
                new.virtualSize = size
                do throws(StorageError) {
                    _ = try await provisioner.change(id, LUNChange(mark: new, expected: .some(mark)))
                    return
                } catch {
                    if error.code != .conflict { throw error }
                }
            }
            throw failure(.busy, "resize volume", name, "other operations on it do not come to an end")
        }

        /// Grows a unit where its room is free; who has it open in this process sees it at once.
        func grow(_ unit: LUN, to size: UInt64, _ name: String) async throws(StorageError) {
            let what = "resize volume"
            let extra = size - min(size, unit.size)
            if !provisioner.profile.growsInUse {
                try await checkSessions(of: unit, what, name, own: attachments.count(unit.id))
            }
            try await checkRoom(Provisioned(bytes: extra), for: nil, what, of: name)
            try await recording("resize", of: name) { (ticket) async throws(StorageError) in
                let begun = try await begin(unit, ticket, what) { $0.promisedBytes = extra }
                guard begun.size < size else {
                    try await finish(begun)
                    return
                }
                try await contend(begun, for: nil, what, of: name)
                guard begun.mark?.provisioning == .fat, begun.mark?.format == .raw else {
                    try await finish(begun, with: LUNChange(size: size))
                    return
                }
                // What it has taken counts, and is promised no more.
                let grown = try await amend(begun, with: LUNChange(size: size)) { $0.promisedBytes = nil }
                // Only what this call has added, and while nobody else can take it to be complete: the zeros would fall
                // on what others have written.
                try await allocate(begun.size..<size, added: grown)
                try await finish(grown)
            }
            try await attachments.writer(unit.id)?.rescan()
        }

        /// Stores zeros where a unit has grown, as this process has it open for writing or opened for that.
        private func allocate(_ range: Range<UInt64>, added unit: LUN) async throws(StorageError) {
            guard let writer = attachments.writer(unit.id) else { return try await allocate(range, of: unit) }
            try await writer.rescan()
            try await Self.allocate(range, of: writer)
        }

        public func setQoS(_ policy: QoSPolicy?, of volume: String) async throws(StorageError) {
            let what = "set QoS"
            try VolumeName.check(volume)
            let policy = try completed(policy, what, volume)
            try await names.withName(volume) { () async throws(StorageError) in
                let unit = try await findManaged(volume, what)
                guard unit.mark?.kind == .volume else {
                    throw failure(.invalidArgument, what, volume, "it is a template")
                }
                if unit.qos == policy { return }
                let change = LUNChange(qos: policy.map { .policy($0) } ?? LUNChange.Policy.none)
                func addition(to unit: LUN) -> UInt64 {
                    let (new, old) = (policy?.minIOPS ?? 0, unit.qos?.minIOPS ?? 0)
                    return new - min(new, old)
                }
                try await checkRoom(Provisioned(minIOPS: addition(to: unit)), for: nil, what, of: volume)
                try await recording("set QoS", of: volume) { (ticket) async throws(StorageError) in
                    var begun = try await begin(unit, ticket, what) { _ in }
                    // Another host may have changed it until now, and from now on none does.
                    let extra = addition(to: begun)
                    if extra > 0 {
                        begun = try await amend(begun, with: LUNChange()) { $0.promisedIOPS = extra }
                        try await contend(begun, for: nil, what, of: volume)
                    }
                    try await finish(begun, with: change)
                }
            }
        }

        public func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport {
            let unit = try await findManaged(name, "check volume")
            // The array looks after its blocks, and a raw volume has nothing else.
            guard unit.mark?.format == .qcow2 else { return CheckReport() }
            return try await checkImage(on: unit, name, repair: repair)
        }
    }
#endif
