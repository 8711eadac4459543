#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func provisioned() async throws(StorageError) -> Provisioned {
            try await removeOrphans("sum up", try await connection)
        }

        /// Drops the declarations of images that are gone: something else has removed them, or a host died removing
        /// them. Returns the sum of the rest.
        func removeOrphans(_ what: String, _ connection: RBDConnection) async throws(StorageError) -> Provisioned {
            try await RBDDeclarations(connection: connection).recount(what) {
                (declarations) async throws(StorageError) in
                // Read after the declarations: an image is listed before it is declared.
                let names = try await RBDDirectory(connection: connection).names(what)
                return Set(declarations.keys.filter { RBDDeclarations.reservedName($0) == nil && names[$0] == nil })
            }
        }

        /// Runs `body`, which changes the declarations of `keys` and checks with the closure that it gets that what is
        /// new fits in the place of what was there. What is gone already is given back before that is refused.
        func withAdmission<Result: Sendable>(
            _ keys: [String], _ what: String, _ name: String, _ connection: RBDConnection,
            _ body: (inout RBDDeclarations.Change, (Provisioned, Provisioned, Provisioned) throws(StorageError) -> Void)
                throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let declarations = RBDDeclarations(connection: connection)
            let limits = options.limits
            let capacity = limits == .none ? 0 : try await space(connection).capacity
            let place = "\(self.name)/\(name)"
            func admit(_ new: Provisioned, _ old: Provisioned, _ sum: Provisioned) throws(StorageError) {
                if limits == .none { return }
                let demand = Provisioned(
                    bytes: new.bytes - min(new.bytes, old.bytes), minIOPS: new.minIOPS - min(new.minIOPS, old.minIOPS))
                try limits.check(demand, beside: sum, capacity: capacity, what, at: place)
            }
            do throws(StorageError) {
                return try await declarations.change(keys, what) { change throws(StorageError) in
                    try body(&change, admit)
                }
            } catch {
                guard error.code == .quotaExceeded else { throw error }
                _ = try await removeOrphans(what, connection)
                return try await declarations.change(keys, what) { change throws(StorageError) in
                    try body(&change, admit)
                }
            }
        }

        /// Changes what is declared of an image, or of a reserved name. More than before must fit.
        @discardableResult
        func amend(
            _ key: String, _ what: String, _ name: String, _ connection: RBDConnection,
            _ change: (inout Declaration) throws(StorageError) -> Void
        ) async throws(StorageError) -> Declaration {
            try await withAdmission([key], what, name, connection) { declarations, admit throws(StorageError) in
                guard let old = declarations[key] else {
                    throw self.failure(.notFound, what, name, "there is no volume or template of that name")
                }
                var new = old
                try change(&new)
                if new == old { return old }
                try admit(new.provisioned, old.provisioned, declarations.sum)
                declarations[key] = new
                return new
            }
        }

        public func reserveVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) {
            try VolumeName.check(name)
            try checkSize(request.size, "reserve volume", name)
            try checkFormat(request.format, "reserve volume", name)
            let connection = try await connection
            let reservation = Declaration(
                .reservation, request.format, request.provisioning, bytes: request.size, qos: request.qos)
            let isThere = try await findIfPresent(name, "reserve volume", connection) != nil
            let key = RBDDeclarations.reservation(of: name)
            try await withAdmission([key], "reserve volume", name, connection) { change, admit throws(StorageError) in
                if change[key] == reservation { return }
                guard change[key] == nil, !isThere else { throw self.taken(name) }
                try admit(reservation.provisioned, Provisioned(), change.sum)
                change[key] = reservation
            }
        }

        func checkFormat(_ format: VolumeFormat, _ what: String, _ name: String) throws(StorageError) {
            guard formats.contains(format) else {
                throw failure(.notSupported, what, name, "the volumes of an RBD pool are raw")
            }
        }
    }
#endif
