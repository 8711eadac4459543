#if RBD
    import BlockStorage
    import IORuntime

    /// What the pool declares of its images: an object whose map has a line of text for each image's id, and for each
    /// reserved name, and their sum.
    ///
    /// Whoever changes them reads, and has the OSD write only if the sum's entry, whose number every change raises, is
    /// as it was read. There is no lock that a dead host could hold.
    struct RBDDeclarations: Sendable {
        let connection: RBDConnection

        static let objectName = "sluice_volumes"
        /// Sorts before all others, and no id is like it.
        private static let accountsKey = ".accounts"
        private static let reservationPrefix = "reserved."
        /// Nobody can be overtaken for that long.
        private static let patience = Duration.seconds(30)

        private var object: RADOSObject { RADOSObject(connection: connection, name: Self.objectName) }

        /// The key of an image's declaration is its id; that of a reserved name this.
        static func reservation(of name: String) -> String { reservationPrefix + name }

        /// The name that a key reserves; nil for the id of an image.
        static func reservedName(_ key: String) -> String? {
            key.hasPrefix(reservationPrefix) ? String(key.dropFirst(reservationPrefix.count)) : nil
        }

        /// Makes the object, which also shows that the pool can be written.
        func prepare() async throws(StorageError) { try await object.create("open pool") }

        func values(of keys: [String], _ what: String) async throws(StorageError) -> [String: Declaration] {
            Self.declarations(try await object.values(of: keys, what) ?? [:])
        }

        /// All declarations, by their keys.
        func all(_ what: String) async throws(StorageError) -> [String: Declaration] {
            Self.declarations(try await object.allValues(what) ?? [:])
        }

        private static func declarations(_ values: RADOSObject.Values) -> [String: Declaration] {
            values.compactMapValues { Declaration(String(decoding: $0, as: UTF8.self)) }
        }

        /// Runs `body`, which changes some declarations, and writes what it did in one step; again with newer ones
        /// where another host changed anything meanwhile. What `body` throws is thrown, and nothing changed then.
        func change<Result: Sendable>(
            _ keys: [String], _ what: String, _ body: (inout Change) throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let deadline = ContinuousClock.now + Self.patience
            while true {
                let values = try await object.values(of: keys + [Self.accountsKey], what) ?? [:]
                guard let accounts = Accounts(values[Self.accountsKey]) else {
                    // Nobody has changed anything yet, or something has damaged the sum.
                    _ = try await recount(what) { _ in [] }
                    continue
                }
                var change = Change(Self.declarations(values), accounts.sum)
                let result = try body(&change)
                if change.changed.isEmpty { return result }
                if try await write(change.changed, change.sum, after: accounts, values[Self.accountsKey], what) {
                    return result
                }
                try await Self.waitForTurn(until: deadline, what)
            }
        }

        /// Adds all up anew, without those whose keys `unwanted` returns. Returns the sum.
        func recount(
            _ what: String, unwanted: ([String: Declaration]) async throws(StorageError) -> Set<String>
        ) async throws(StorageError) -> Provisioned {
            let deadline = ContinuousClock.now + Self.patience
            while true {
                // The accounts come first, so that a change during the reading is seen when it is written.
                let values = try await object.allValues(what) ?? [:]
                let accounts = Accounts(values[Self.accountsKey])
                let declarations = Self.declarations(values)
                let keys = try await unwanted(declarations)
                let sum = declarations.filter { !keys.contains($0.key) }.values.reduce(into: Provisioned()) {
                    $0.add($1.provisioned)
                }
                if keys.isEmpty, accounts?.sum == sum { return sum }
                let removed = Dictionary(uniqueKeysWithValues: keys.map { ($0, Declaration?.none) })
                if try await write(removed, sum, after: accounts ?? Accounts(), values[Self.accountsKey], what) {
                    return sum
                }
                try await Self.waitForTurn(until: deadline, what)
            }
        }

        private func write(
            _ changed: [String: Declaration?], _ sum: Provisioned, after accounts: Accounts, _ expected: [UInt8]?,
            _ what: String
        ) async throws(StorageError) -> Bool {
            var values = changed.compactMapValues { $0.map { Array($0.text.utf8) } }
            values[Self.accountsKey] = Accounts(generation: accounts.generation &+ 1, sum: sum).bytes
            let removed = changed.filter { $0.value == nil }.map(\.key)
            return try await object.replace(
                ifValueOf: Self.accountsKey, is: expected ?? [], set: values, remove: removed, what)
        }

        private static func waitForTurn(
            until deadline: ContinuousClock.Instant, _ what: String
        ) async throws(StorageError) {
            if ContinuousClock.now > deadline {
                throw StorageError(
                    .conflict, what, at: objectName, why: "other hosts have changed the pool's declarations for 30 s")
            }
            await IOExecutor.sleep(for: .microseconds(Int.random(in: 100...5000)))
            if Task.isCancelled { throw StorageError(.cancelled, what, at: objectName) }
        }

        /// The entry that every change replaces: `GENERATION BYTES IOPS`.
        private struct Accounts {
            var generation: UInt64 = 0
            var sum = Provisioned()

            init() {}

            init(generation: UInt64, sum: Provisioned) { (self.generation, self.sum) = (generation, sum) }

            /// Nil for what is no such entry.
            init?(_ bytes: [UInt8]?) {
                let fields = String(decoding: bytes ?? [], as: UTF8.self).split(separator: " ").map { UInt64($0) }
                guard fields.count == 3, let generation = fields[0], let bytes = fields[1], let iops = fields[2]
                else { return nil }
                self.init(generation: generation, sum: Provisioned(bytes: bytes, minIOPS: iops))
            }

            var bytes: [UInt8] { Array("\(generation) \(sum.bytes) \(sum.minIOPS)".utf8) }
        }
    }

    extension RBDDeclarations {
        /// Some declarations while they are changed.
        struct Change {
            private var declarations: [String: Declaration]
            /// What all together promise, these changes included.
            private(set) var sum: Provisioned
            /// New ones, and nil for those that go.
            private(set) var changed: [String: Declaration?] = [:]

            init(_ declarations: [String: Declaration], _ sum: Provisioned) {
                (self.declarations, self.sum) = (declarations, sum)
            }

            /// Of one of the keys that the change was begun for.
            subscript(_ key: String) -> Declaration? {
                get { declarations[key] }
                set {
                    if let old = declarations[key] { sum.subtract(old.provisioned) }
                    if let newValue { sum.add(newValue.provisioned) }
                    declarations[key] = newValue
                    changed.updateValue(newValue, forKey: key)
                }
            }
        }
    }

    extension Provisioned {
        fileprivate mutating func add(_ other: Provisioned) {
            bytes = bytes.addingSaturating(other.bytes)
            minIOPS = minIOPS.addingSaturating(other.minIOPS)
        }

        fileprivate mutating func subtract(_ other: Provisioned) {
            bytes -= min(bytes, other.bytes)
            minIOPS -= min(minIOPS, other.minIOPS)
        }
    }

    /// What the last field of a declaration says of an image: the name that it was built for, and, where it does not
    /// read through what it was cloned from any more, that.
    struct RBDOrigin: Equatable {
        var name: String
        var source: String?

        init(_ name: String, source: String? = nil) { (self.name, self.source) = (name, source) }

        /// `NAME` or `NAME/SOURCE`.
        init?(_ text: String?) {
            guard let parts = text?.split(separator: "/", maxSplits: 1), let name = parts.first else { return nil }
            self.init(String(name), source: parts.count > 1 ? String(parts[1]) : nil)
        }

        var text: String { source.map { "\(name)/\($0)" } ?? name }
    }
#endif
